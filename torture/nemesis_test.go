//go:build unix

package torture

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/hustings-go/hustings/torture/stores"
)

// nemesis carries plans out. It mends what it broke when the time has come.
type nemesis struct {
	*world
	broken  []breakage // what is to be mended
	deeds   []*deed
	deposed map[uint64]bool // tokens that an operator took away, or tried to
	mended  time.Time       // when the last breakage was
}

type breakage struct {
	due  time.Time
	mend func()
}

// deed is a fault that struck.
type deed struct {
	Kind   kind
	Victim string // process, or member of the store
	Token  uint64 // of the term that the victim held, 0 if it held none
	At     int64
	Until  int64
	Blind  bool // somebody's session was revoked who had no token yet
}

func newNemesis(w *world) *nemesis { return &nemesis{world: w, deposed: map[uint64]bool{}} }

// carryOut plays a plan, lets its last faults stand for a while, and mends everything.
func (n *nemesis) carryOut(plan []strike, rest time.Duration) {
	n.Helper()
	for _, s := range plan {
		n.pass(s.wait)
		if d := n.strike(s); d != nil {
			n.deeds = append(n.deeds, d)
		}
	}
	n.pass(rest)
	n.mendAll()
}

// pass lets time pass, and mends what is due.
func (n *nemesis) pass(d time.Duration) {
	n.Helper()
	end := time.Now().Add(d)
	for {
		next := end
		for _, b := range n.broken {
			if b.due.Before(next) {
				next = b.due
			}
		}
		timer := time.NewTimer(time.Until(next))
		<-timer.C
		n.mend(time.Now())
		if !time.Now().Before(end) {
			return
		}
	}
}

// mend mends what was due at now.
func (n *nemesis) mend(now time.Time) {
	n.broken = slices.DeleteFunc(n.broken, func(b breakage) bool {
		if b.due.After(now) {
			return false
		}
		b.mend()
		n.mended = time.Now()
		return true
	})
}

func (n *nemesis) mendAll() {
	n.Helper()
	n.mend(time.Now().Add(time.Hour))
	for _, m := range n.cluster.Members() {
		m.WaitReady()
	}
	clear(n.down)
}

// strike does what was planned, to somebody to whom it can be done, and returns nil if there is nobody.
func (n *nemesis) strike(s strike) *deed {
	n.Helper()
	switch s.kind {
	case kill, stop, resign, proclaim:
		return n.hitProcess(s)
	case cut, cutUp, cutDown, slow, refuse:
		return n.hitLinks(s)
	case memberKill, memberPause:
		return n.hitMembers(s, 1)
	case quorumKill, quorumPause:
		return n.hitMembers(s, len(n.down)/2+1)
	case moveLeader:
		ctx, cancel := context.WithTimeout(n.Context(), 2*time.Second)
		defer cancel()
		d := &deed{Kind: s.kind, Victim: "store", At: time.Now().UnixNano()}
		if slices.Contains(n.down, true) || n.cluster.MoveLeader(ctx) != nil {
			return nil
		}
		d.Until = time.Now().UnixNano()
		return d
	case split:
		return n.failOver(s)
	case deleteIt, revokeIt:
		return n.depose(s)
	}
	n.Fatalf("no such fault: %s", s.kind)
	return nil
}

// choose picks a candidate that fits: the leader if that is wanted and fits.
func (n *nemesis) choose(s strike, fits func(*candidate) bool) (*candidate, uint64) {
	leader, t := n.leads()
	if s.leader && leader != nil && fits(leader) {
		return leader, t.token
	}
	var others []*candidate
	for _, c := range n.cast {
		if c != leader && fits(c) {
			others = append(others, c)
		}
	}
	if len(others) == 0 {
		return nil, 0
	}
	return others[s.pick%uint(len(others))], 0
}

func (n *nemesis) hitProcess(s strike) *deed {
	n.Helper()
	c, token := n.choose(s, func(c *candidate) bool { return !c.dead && !c.stopped && n.history.started[c.who()] })
	if c == nil {
		return nil
	}
	d := &deed{Kind: s.kind, Victim: c.who(), Token: token, At: time.Now().UnixNano()}
	switch s.kind {
	case kill:
		c.dead = true
		c.Kill()
		n.later(d, s.lasts, func() {
			c.Start()
			c.dead = false
		})
	case stop:
		c.stopped = true
		c.Pause()
		n.later(d, s.lasts, func() {
			c.Resume()
			c.stopped = false
		})
	default:
		signal := askResign
		if s.kind == proclaim {
			signal = askProclaim
		}
		n.signal(c, signal)
		d.Until = d.At
	}
	return d
}

func (n *nemesis) signal(c *candidate, signal syscall.Signal) {
	n.Helper()
	if err := syscall.Kill(c.PID(), signal); err != nil {
		n.Fatalf("signal to %s: %v", c.name, err)
	}
}

func (n *nemesis) hitLinks(s strike) *deed {
	n.Helper()
	c, token := n.choose(s, func(c *candidate) bool { return !c.severed })
	if c == nil {
		return nil
	}
	d := &deed{Kind: s.kind, Victim: c.who(), Token: token, At: time.Now().UnixNano()}
	c.severed = true
	for _, link := range c.links {
		switch s.kind {
		case cut:
			link.Cut()
		case cutUp:
			link.CutUp()
		case cutDown:
			link.CutDown()
		case slow:
			link.Delay(s.delay)
		default:
			link.Refuse()
		}
	}
	n.later(d, s.lasts, c.heal)
	return d
}

// failOver has the store fail over and lose something: for a moment, what its leading member acknowledges reaches no
// other, and half of the time a new term is among it. Then that member dies, or hangs, for long enough that another
// takes over; or it lives on, in one part of the network with the leader, and the other takes over in the other part.
func (n *nemesis) failOver(s strike) *deed {
	n.Helper()
	cluster, ok := n.cluster.(stores.Forgetful)
	if !ok || slices.Contains(n.down, true) {
		return nil
	}
	d := &deed{Kind: s.kind, Victim: "store", At: time.Now().UnixNano()}
	leader, t := n.leads()
	if t != nil {
		d.Token = t.token
	}
	ctx, cancel := context.WithTimeout(n.Context(), 2*time.Second)
	defer cancel()
	leading, err := cluster.Split(ctx)
	if err != nil {
		n.join(cluster)
		return nil
	}
	how, lasts := s.pick%3, s.lasts+2*n.timing.ttl
	n.down[leading] = true // no other fault of a member, until they are joined
	if how == 0 {
		n.partition(d, leading, leader, lasts)
	}
	if leader != nil && !leader.dead && s.pick%2 == 0 {
		n.signal(leader, askResign)
	}
	n.pass(s.delay)
	if how == 0 {
		ctx, cancel := context.WithTimeout(n.Context(), 2*time.Second)
		defer cancel()
		if err := n.cluster.MoveLeader(ctx); err != nil {
			n.Logf("the store was not failed over: %v", err)
		}
	} else {
		n.takeDown(d, leading, how == 1, lasts)
	}
	n.later(d, lasts, func() {
		n.join(cluster)
		n.down[leading] = false
	})
	return d
}

// partition leaves the leader and every second candidate with the leading member alone, and the others with all else.
func (n *nemesis) partition(d *deed, leading int, leader *candidate, lasts time.Duration) {
	n.Helper()
	first := max(0, slices.Index(n.cast, leader))
	for i, c := range n.cast {
		if c.severed {
			continue
		}
		with := (i-first)%2 == 0
		for server, link := range c.links { // the members come first
			if with != (server == leading) {
				link.Cut()
			}
		}
		c.severed = true
		n.later(d, lasts, c.heal)
	}
}

// heal mends all that is wrong with the candidate's links.
func (c *candidate) heal() {
	for _, link := range c.links {
		link.Heal()
	}
	c.severed = false
}

// join undoes a split, once all members are there to hear of it.
func (n *nemesis) join(cluster stores.Forgetful) {
	n.Helper()
	const patience = 30 * time.Second
	if !n.within(patience, "the members to be joined again", func() bool {
		ctx, cancel := context.WithTimeout(n.Context(), time.Second)
		defer cancel()
		return cluster.Join(ctx) == nil
	}) {
		n.Fatal("a split could not be undone")
	}
}

// hitMembers takes servers of the store away, if all are there.
func (n *nemesis) hitMembers(s strike, count int) *deed {
	n.Helper()
	if slices.Contains(n.down, true) {
		return nil
	}
	d := &deed{Kind: s.kind, At: time.Now().UnixNano()}
	for i := range count {
		which := int((s.pick + uint(i)) % uint(len(n.down)))
		d.Victim += fmt.Sprintf("member%d ", which)
		n.takeDown(d, which, s.kind == memberKill || s.kind == quorumKill, s.lasts)
	}
	return d
}

// takeDown kills or pauses a member for a while.
func (n *nemesis) takeDown(d *deed, which int, kill bool, lasts time.Duration) {
	n.Helper()
	m := n.cluster.Members()[which]
	n.down[which] = true
	if kill {
		m.Kill()
	} else {
		m.Pause()
	}
	n.later(d, lasts, func() {
		if kill {
			m.Start()
		} else {
			m.Resume()
		}
		n.down[which] = false
	})
}

// depose takes a record, or its session, away by hand. A try that failed may have worked.
func (n *nemesis) depose(s strike) *deed {
	n.Helper()
	ctx, cancel := context.WithTimeout(n.Context(), 3*time.Second)
	defer cancel()
	records, err := n.cluster.Records(ctx, key)
	if err != nil || len(records) == 0 {
		return nil
	}
	which := 0
	if !s.leader && len(records) > 1 {
		which = 1 + int(s.pick%uint(len(records)-1))
	}
	r := records[which]
	d := &deed{Kind: s.kind, Victim: cmp.Or(r.Path, r.Session), Token: r.Token, At: time.Now().UnixNano(), Blind: r.Token == 0}
	if r.Token != 0 {
		n.deposed[r.Token] = true
	}
	if which > 0 {
		d.Token = 0
	}
	err = n.operate(ctx, s.kind, r)
	d.Until = time.Now().UnixNano()
	if err != nil && !d.Blind {
		return nil
	}
	return d
}

func (n *nemesis) operate(ctx context.Context, k kind, r stores.Record) error {
	if k == deleteIt {
		return n.cluster.Delete(ctx, r)
	}
	return n.cluster.Revoke(ctx, r)
}

// later has something mended after a while.
func (n *nemesis) later(d *deed, lasts time.Duration, mend func()) {
	n.broken = append(n.broken, breakage{time.Now().Add(lasts), func() {
		mend()
		d.Until = time.Now().UnixNano()
	}})
}

// quiet waits until the store has forgotten the dead: until it holds no more than those who stand leave in it, an expiry
// after the last breakage was mended. Until then there may be sessions whose beginning was never answered, so that nobody
// can end them, and which pass for those of candidates that have none yet.
func (n *nemesis) quiet() bool {
	n.Helper()
	return n.within(n.timing.expiry+n.timing.bound(), "the sessions of the dead to end", func() bool {
		if time.Since(n.mended) < n.timing.expiry {
			return false
		}
		traces, err := n.look()
		return err == nil && len(traces) <= n.store.Standing(len(n.cast))
	})
}

// traces returns what is in the store after all have left, when they had half a TTL: not long enough for anything
// to end by itself. Where the store did not answer in that time, the first answer counts.
func (n *nemesis) traces() (traces []string) {
	n.Helper()
	known := false
	empty := func() bool {
		found, err := n.look()
		if err == nil {
			traces, known = found, true
		}
		return known && len(traces) == 0
	}
	n.within(n.timing.ttl/2, "an empty store", empty)
	if !known && !n.within(n.timing.bound(), "the store to tell what is left", func() bool { return empty() || known }) {
		return []string{"unknown"}
	}
	return traces
}

func (n *nemesis) look() ([]string, error) {
	ctx, cancel := context.WithTimeout(n.Context(), time.Second)
	defer cancel()
	return n.cluster.Traces(ctx)
}
