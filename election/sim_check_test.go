package election

import (
	"fmt"
	"slices"
	"time"
)

// violation is a promise that a run has broken.
type violation struct {
	rule string // of safety.md 6.3, or a word
	at   time.Duration
	text string
}

func (v *violation) String() string {
	return fmt.Sprintf("%s at %.6fs: %s", v.rule, v.at.Seconds(), v.text)
}

// checker looks at the world after every event, with knowledge that no candidate has: true time, all
// clocks, and the store.
type checker struct {
	w         *world
	violation *violation // the first

	excused  time.Duration // until when a broken assumption may show in validity
	unsound  bool          // the store has lost writes: its tokens prove nothing any more
	quiet    bool          // nothing is wrong, and nobody wants anything
	granted  time.Duration // the longest lease that was granted
	token    uint64        // of the last election
	order    map[uint64]int
	holders  map[uint64]*process
	probe    Term // a term to look through without being seen: Valid leaves marks
	twoWork  time.Duration
	twoValid time.Duration
}

// proof is an answer of the store that kept a lease alive.
type proof struct {
	sent instant
	at   time.Duration // the same in true time
	ttl  time.Duration
}

// seen is what the checker remembers of a process.
type seen struct {
	call      uint64 // number of the call under way
	since     time.Duration
	bound     time.Duration
	announced uint64
	token     uint64        // of its last term
	shown     uint64        // the highest token published
	over      uint64        // the term that was seen over
	hurt      int           // calls since the last grant that failed or took long
	owes      uint64        // the candidacy that was won, and neither given up nor lost since
	lost      uint64        // the term of which the store has said that it is lost
	stopped   uint64        // the term whose work was told to stop
	told      instant       // when
	fresh     bool          // it has got a grant in this step
	granted   time.Duration // when
	asked     bool          // to resign, in this step
	resting   bool          // it was asked to resign, and has not stood since
	resigned  instant
	pausing   bool // and has given up what it held
	paused    instant
	proofs    map[uint64][]proof
	working   bool

	value   string // what the next candidacy announces
	takes   []take // of values, by the store
	hurried bool   // it was asked to leave with one try to release
	tries   int    // to release, since then
	reason  ending // why the campaign may end for good
	final   bool   // and has to, now
	denials int
	denied  instant
	stood   instant // since when the candidacy under way stands
	errored int     // Errored events since it last led
}

// take is a value that the store took from a leader.
type take struct {
	value string
	at    time.Duration
}

// ending is what a campaign that ends for good ends of.
type ending uint8

const (
	endless   ending = iota
	mendless         // the last renewal failed for good: if no other succeeds before the term ends
	endNow           // a candidacy did, or the backend was closed
	endWished        // the user wants to leave, or the work is done
)

func (c *checker) init(w *world) {
	c.w = w
	c.granted = w.granted
	c.order = make(map[uint64]int)
	c.holders = make(map[uint64]*process)
}

func (c *checker) fail(rule, format string, args ...any) {
	if c.violation == nil {
		c.violation = &violation{rule, c.w.now, fmt.Sprintf(format, args...)}
		c.w.note(nil, "VIOLATION of "+rule, 0)
	}
}

// excuse notes until when a fault may make two terms valid at a time. What was granted before it counts
// for one TTL at most, by the slowest clock.
func (c *checker) excuse(f fault, broken assumption) {
	until := c.w.now + f.dur + c.granted*102/100
	switch broken {
	case holds:
		return
	case breaks1:
		c.unsound = true
	case breaks2, breaks3, breaks5:
	}
	c.excused = max(c.excused, until)
}

// valid is what Term.Valid would say on the process's machine at this moment.
func (c *checker) valid(p *process) bool {
	t := p.d.term
	if t == nil {
		return false
	}
	s := t.span.Load()
	if s == nil {
		return false
	}
	c.probe.now = t.now
	c.probe.span.Store(s)
	return c.probe.Valid()
}

// inspect holds after every event.
func (w *world) inspect() {
	c := &w.check
	valid, working := 0, 0
	for _, h := range w.hosts {
		p := h.proc
		if p == nil {
			continue
		}
		if p.seen.working {
			working++
		}
		c.punctual(p)
		if p.d.term == nil || !c.valid(p) {
			continue
		}
		if valid++; valid > 1 && w.now > c.excused {
			c.fail("I1", "%d valid terms at a time", valid)
		}
		switch t := p.d.term; {
		case p.seen.over == t.number:
			c.fail("I4", "host %d: term %d is valid again after it was over", h.id, t.token)
		case w.now > c.excused && w.store.own(p.client.held[t.number]) == nil:
			c.fail("I1", "host %d: term %d is valid, but the store has given it away", h.id, t.token)
		}
	}
	longest(w.now, working > 1, &c.twoWork, &w.stats.overlap)
	longest(w.now, valid > 1, &c.twoValid, &w.stats.excused)
}

// punctual holds for a host that has been itself for a while: work is told to stop in time.
func (c *checker) punctual(p *process) {
	const late = maxLook + 3*hand
	t := p.d.term
	if t == nil || p.h.frozen || c.w.now-max(p.h.outage, p.seen.granted) < p.h.clock.takes(late) || t.ctx.Err() != nil {
		return
	}
	if s := t.span.Load(); s != nil {
		proofs := p.seen.proofs[t.number]
		if soft := c.w.safeSoft(proofs[len(proofs)-1].ttl); p.h.instant().Since(s.sent) > soft+late {
			c.fail("I16", "host %d: the work of term %d is not told to stop", p.h.id, t.token)
		}
	}
}

// longest measures the longest time for which on held without a break.
func longest(now time.Duration, on bool, since, most *time.Duration) {
	switch {
	case on && *since == 0:
		*since = now
	case on:
		*most = max(*most, now-*since)
	case *since != 0:
		*most = max(*most, now-*since)
		*since = 0
	}
}

// proved hears of every answer that keeps a lease alive, from the network and not from the machine.
func (c *checker) proved(cand *candidacy, a answer, sent instant, at time.Duration) {
	p := cand.client.p
	if p.seen.proofs == nil {
		p.seen.proofs = make(map[uint64][]proof)
	}
	p.seen.proofs[cand.seq] = append(p.seen.proofs[cand.seq], proof{sent, at, a.ttl})
}

// stepped holds after every step of a machine.
func (c *checker) stepped(p *process) {
	if p.seen.final && !p.finished {
		c.fail("I19", "host %d: goes on, although the store has refused it for good", p.h.id)
	}
	if m := p.d.m; p.seen.asked && m.phase != phaseEnded && m.then != thenEnd {
		p.seen.resting, p.seen.resigned, p.seen.pausing = true, p.h.instant(), false
	}
	if p.seen.resting && !p.seen.pausing && p.d.m.phase == phasePausing {
		p.seen.pausing, p.seen.paused = true, p.h.instant()
	}
	// A grant whose time is up by a clock that was set meanwhile is acted on in the next step, at once.
	fresh := p.seen.fresh
	p.seen.asked, p.seen.fresh = false, false
	t := p.d.term
	if t == nil {
		return
	}
	s := t.span.Load()
	if s == nil {
		p.seen.over = t.number
		return
	}
	if p.seen.lost == t.number {
		c.fail("I4", "host %d: the store said that term %d is lost, and it is not over", p.h.id, t.token)
	}
	if !fresh && p.h.instant().Since(s.sent) >= s.hard {
		c.fail("I4", "host %d: a step past the deadline of term %d did not end it", p.h.id, t.token)
	}
	proofs := p.seen.proofs[t.number]
	for _, proof := range slices.Backward(proofs) {
		if proof.sent == s.sent {
			if limit := proof.ttl - c.w.safeMargin(proof.ttl); s.hard > limit {
				c.fail("I5", "host %d: the term lasts %v of a lease of %v, may last %v", p.h.id, s.hard, proof.ttl, limit)
			}
			return
		}
	}
	c.fail("I5", "host %d: the deadline of term %d does not count from when its proof was sent", p.h.id, t.token)
}

// safeMargin is what the documentation promises, worked out anew.
func (s *scenario) safeMargin(ttl time.Duration) time.Duration {
	if s.wants.margin >= 0 {
		return s.wants.margin
	}
	if ttl < 2*time.Second {
		return ttl / 4
	}
	return max(ttl/10, 500*time.Millisecond)
}

// safeSoft is when work is told to stop, after the proof was sent.
func (s *scenario) safeSoft(ttl time.Duration) time.Duration {
	drain := ttl / 5
	if s.wants.drain >= 0 {
		drain = s.wants.drain
	}
	return ttl - s.safeMargin(ttl) - drain
}

// enthroned hears of every election, in the store.
func (c *checker) enthroned(rec *simRecord) {
	c.w.note(nil, "elected", rec.token)
	c.w.stats.elections++
	if rec.token <= c.token && !c.unsound {
		c.fail("I3", "token %d was given after %d", rec.token, c.token)
	}
	c.token = rec.token
	if !c.unsound {
		c.order[rec.token] = c.w.stats.elections
	}
}

func (c *checker) renewing(cand *candidacy, rec *simRecord) {
	if rec.id != cand.id || rec.token != cand.token {
		c.fail("I6", "a renewal of candidacy %d extends that of %d", cand.id, rec.id)
	}
}

func (c *checker) removing(cand *candidacy, rec *simRecord) {
	// The token may differ: a late copy of the request to join can bring a candidacy back that has been
	// given up, for a TTL, with nobody leading by it.
	if rec.id != cand.id || rec.c != cand {
		c.fail("I6", "candidacy %d removes the record of %d", cand.id, rec.id)
	}
}

// working and rested follow what really runs, whatever the election believes.
func (c *checker) working(p *process, t *Term) {
	p.seen.working = true
	c.w.note(p.h, "works", t.token)
}

func (c *checker) rested(l *loop) {
	l.p.seen.working = l.term != nil || l.extra > 0
}

// gone is a process that has crashed: its work stopped with it.
func (c *checker) gone(p *process) {
	p.seen.working = false
	p.client.vanish()
}

// took hears of a value that the store has taken.
func (c *checker) took(cand *candidacy, value []byte) {
	s := &cand.client.p.seen
	s.takes = append(s.takes, take{string(value), c.w.now})
}

// calm holds when nothing has been wrong for a while: everybody stands or leads, whoever listens knows who
// leads, and whoever asked was answered.
func (c *checker) calm() {
	w := c.w
	for _, h := range w.hosts {
		p := h.proc
		m := p.d.m
		cand := p.client.standing
		switch {
		case m.phase == phaseLeading && c.valid(p):
		case m.phase != phaseCampaigning || cand == nil:
			c.fail("I18", "host %d: neither leads nor stands, but %s", h.id, phaseNames[m.phase])
		case w.profile.queue && w.store.find(cand.id) == nil:
			c.fail("I18", "host %d: stands, but the store does not know it", h.id)
		}
		if m.phase == phaseLeading && p.client.waiting == nil {
			c.fail("I18", "host %d: leads, and does not listen for its loss", h.id)
		}
		if m.listeners > 0 && !m.answered {
			c.fail("I9", "host %d: %d listen, and nobody observes", h.id, m.listeners)
		}
		if len(p.asks) > 0 {
			c.fail("answers", "host %d: %d callers were never answered", h.id, len(p.asks))
		}
	}
	c.quiet = true
}

// steady holds when it has been calm for a while.
func (c *checker) steady(renewals int, over time.Duration) {
	w := c.w
	c.quiet = false
	if c.violation != nil {
		return
	}
	if most := int((over+over/100)/(w.safeSoft(w.granted)/2)) + 1; renewals > most {
		c.fail("I12", "%d renewals in %v of calm, at most %d are due", renewals, over, most)
	}
	if w.weak || c.unsound || w.now-w.store.changedAt < 2*w.ttl {
		return
	}
	l := w.store.leader()
	for _, h := range w.hosts {
		m := h.proc.d.m
		if m.listeners == 0 {
			continue
		}
		// A leader whose Proclaim was not answered cannot know which value stands; the others see.
		same := string(m.leader.Value) == string(l.Value) || m.phase == phaseLeading
		if m.leader.Token != l.Token || !same {
			c.fail("I9", "host %d believes in leader %d %q, the store has %d %q",
				h.id, m.leader.Token, m.leader.Value, l.Token, l.Value)
		}
	}
}

// ended holds when everybody has left.
func (c *checker) ended() {
	for _, h := range c.w.hosts {
		p := h.proc
		if p == nil {
			continue
		}
		if !p.finished || !p.loop.ended {
			c.fail("I11", "host %d: asked to leave long ago, but still %s, loop ended: %v", h.id, phaseNames[p.d.m.phase], p.loop.ended)
		}
		if p.client.standing != nil || p.client.waiting != nil || p.client.observing != nil {
			c.fail("I11", "host %d: calls are left after the end", h.id)
		}
	}
	// What was won is given up. (A request to join that was overtaken by the one to withdraw may be there for a TTL.)
	if r := c.w.store.holder; r != nil && r.c != nil && r.token == r.c.token && !r.c.client.p.dead {
		c.fail("I11", "host %d: term %d was not given up", r.c.client.p.h.id, r.token)
	}
	if n := len(c.w.store.observers) + len(c.w.store.listening); n > 0 {
		c.fail("I11", "%d watches are left after the end", n)
	}
}

// empty holds a TTL later.
func (c *checker) empty() {
	s := c.w.store
	s.sweep()
	if s.holder != nil || len(s.waiting) > 0 {
		c.fail("I11", "records are left in the store: holder %v, %d waiting", s.holder, len(s.waiting))
	}
}
