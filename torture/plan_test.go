//go:build unix

package torture

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// kind is a kind of fault.
type kind string

const (
	kill        kind = "kill"
	stop        kind = "stop"
	cut         kind = "cut"
	cutUp       kind = "cut requests"
	cutDown     kind = "cut answers"
	slow        kind = "slow"
	refuse      kind = "refuse"
	resign      kind = "resign"
	proclaim    kind = "proclaim"
	memberKill  kind = "member killed"
	memberPause kind = "member paused"
	quorumKill  kind = "majority killed"
	quorumPause kind = "majority paused"
	moveLeader  kind = "store's leader moved"
	deleteIt    kind = "record deleted"
	revokeIt    kind = "session revoked"
	split       kind = "split, then failed over"
)

// strike is a fault as it is planned: whom it hits is settled when it strikes, because nobody knows before who
// will lead then.
type strike struct {
	wait   time.Duration // since the strike before
	kind   kind
	leader bool // the one who leads; else one of the others
	pick   uint
	lasts  time.Duration // until it is mended
	delay  time.Duration // of slow
}

func (s strike) String() string {
	return fmt.Sprintf("%s leader=%v pick=%d after %v for %v delay %v", s.kind, s.leader, s.pick, s.wait, s.lasts, s.delay)
}

// chance is how often a kind of fault is chosen in a storm.
type chance struct {
	kind kind
	n    int
}

// chances are those of a store that forgets, or does not.
func chances(forgets bool) []chance {
	all := []chance{
		{kill, 5},
		{stop, 6},
		{cut, 4},
		{cutUp, 4},
		{cutDown, 4},
		{slow, 5},
		{refuse, 3},
		{resign, 4},
		{proclaim, 3},
		{memberKill, 3},
		{memberPause, 3},
		{quorumKill, 1},
		{quorumPause, 1},
		{moveLeader, 3},
		{deleteIt, 3},
		{revokeIt, 3},
	}
	if forgets {
		all = append(all, chance{split, 5})
	}
	return all
}

// planner draws plans from one source of randomness. Kinds are dealt like cards, so that even a short run plays
// many of them.
type planner struct {
	r       *rand.Rand
	forgets bool // plan for a store that does
	deck    []kind
}

func newPlanner(seed uint64, forgets bool) *planner {
	return &planner{r: rand.New(rand.NewPCG(seed, 0)), forgets: forgets}
}

func (p *planner) deal() kind {
	if len(p.deck) == 0 {
		for _, c := range chances(p.forgets) {
			for range c.n {
				p.deck = append(p.deck, c.kind)
			}
		}
		p.r.Shuffle(len(p.deck), func(i, j int) { p.deck[i], p.deck[j] = p.deck[j], p.deck[i] })
	}
	k := p.deck[0]
	p.deck = p.deck[1:]
	return k
}

func (p *planner) between(low, high time.Duration) time.Duration {
	return low + time.Duration(p.r.Int64N(int64(high-low)+1))
}

// storm plans faults of all kinds, one or two at a time, that overlap.
func (p *planner) storm(ttl, length time.Duration) []strike {
	var plan []strike
	for at := time.Duration(0); at < length; {
		wait := p.between(ttl/4, 2*ttl)
		at += wait
		for range 1 + p.r.IntN(2) {
			s := strike{wait: wait, kind: p.deal(), leader: p.r.IntN(5) < 3, pick: uint(p.r.Uint32())}
			s.lasts = p.between(ttl/5, 3*ttl)
			s.delay = p.between(ttl/30, ttl/6)
			if p.r.IntN(2) == 0 {
				s.delay = p.between(ttl/6, ttl)
			}
			plan = append(plan, s)
			wait = 0
		}
	}
	return plan
}

// duels plans one fault at a time, on the leader, with time to get over it: they show how long a failover takes.
func (p *planner) duels(t timing, n int) []strike {
	kinds := []kind{kill, resign, cut, kill, resign, cutUp, kill, resign, cutDown}
	if p.forgets {
		kinds = append(kinds, split, split)
	}
	p.r.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	var plan []strike
	for i := range n {
		wait := p.between(0, t.ttl)
		if i > 0 {
			wait += t.expiry + t.ttl
		}
		// Cut off for long enough that the lease ends, and back before the next one.
		s := strike{wait: wait, kind: kinds[i%len(kinds)], leader: true, pick: uint(p.r.Uint32()), lasts: t.expiry}
		if s.kind == split {
			s.delay = p.between(t.ttl/6, t.ttl)
		}
		plan = append(plan, s)
	}
	return plan
}

// sketch plans the least that shows something, for a test that must not take long although the store's leases
// do: a leader resigns, and the next one is killed. A rest of an expiry must follow.
func (p *planner) sketch(t timing) []strike {
	return []strike{
		{wait: t.ttl / 10, kind: resign, leader: true, pick: uint(p.r.Uint32())},
		{wait: t.ttl / 10, kind: kill, leader: true, pick: uint(p.r.Uint32()), lasts: t.ttl / 10},
	}
}

// timing is what a store's faults and checks are measured by.
type timing struct{ ttl, expiry, recovery time.Duration }

// bound is how soon after healing a leader must have written: the store has recovered, the last lease has ended,
// and a little for candidates that back off and a machine that is busy.
func (t timing) bound() time.Duration { return t.recovery + t.expiry + 5*time.Second }
