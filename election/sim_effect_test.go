package election

import (
	"context"
	"errors"
	"slices"
)

// fact hears of what a machine is told, before it is.
func (c *checker) fact(p *process, f fact) {
	m := p.d.m
	if f.class == classLost && f.seq != 0 && (f.seq == m.call || f.seq == m.wait) {
		p.seen.lost, p.seen.owes = m.term, 0
	}
	switch f.kind {
	case factResignAsked:
		p.seen.asked = m.phase != phasePausing // where it is no news
	case factWon:
		p.seen.owes = f.seq
	default:
	}
	c.reasons(p, f)
	switch f.kind {
	case factWon, factFailed, factRenewed, factRenewFailed, factProclaimed, factReleased:
	default:
		return
	}
	if f.seq != p.seen.call {
		return
	}
	p.seen.call = 0
	if f.err != nil || c.w.now-p.seen.since > p.seen.bound/2 {
		p.seen.hurt++
	}
}

// reasons notes what a campaign may end of: the wish to leave, work that is done, a closed backend, a refusal that
// no retry can mend, or that stood for two TTLs. A renewal that succeeds mends what the one before it said.
func (c *checker) reasons(p *process, f fact) {
	m, s := p.d.m, &p.seen
	current := f.seq == m.call && f.seq != 0
	refused := f.class == classPermanent || f.class == classClosed
	switch f.kind {
	case factStopAsked:
		s.reason = endWished
		s.hurried = s.hurried || f.n == 1 && m.phase != phaseEnded
	case factLeadReturned:
		if f.seq == m.term && m.phase == phaseLeading {
			s.reason = endWished
		}
	case factClosed:
		if f.seq == m.wait && f.seq != 0 {
			s.reason = max(s.reason, endNow)
		}
	case factFailed:
		current = current && m.phase == phaseCampaigning // else it was withdrawn, and what came of it does not matter
		if current && p.h.instant().Since(s.stood) >= c.w.ttl {
			s.denials = 0 // it stood, and so was not refused
		}
		if f.class == classDenied && current && (s.denials == 0 || p.h.instant().Since(s.denied) >= c.w.ttl) {
			s.denials++
			s.denied = p.h.instant()
		}
		if current && (refused || f.class == classDenied && s.denials >= 3) {
			s.reason, s.final = max(s.reason, endNow), true
		}
	case factRenewFailed:
		if current && refused {
			s.reason = max(s.reason, mendless)
		}
	default:
	}
}

// effect holds for everything that a machine wants done, before it is done.
func (c *checker) effect(p *process, e effect) {
	if p.finished {
		c.fail("I11", "host %d: %s after the end", p.h.id, effectNames[e.kind])
	}
	if c.quiet && e.kind != effectRenew && e.kind != effectInstall {
		c.fail("I12", "host %d: %s, though nothing has happened", p.h.id, effectNames[e.kind])
	}
	switch e.kind {
	case effectWait:
		if p.client.waiting != nil {
			c.fail("calls", "host %d: waits for loss twice at a time", p.h.id)
		}
	case effectObserve:
		if p.client.observing != nil {
			c.fail("calls", "host %d: observes twice at a time", p.h.id)
		}
	case effectCampaign, effectRenew, effectProclaim, effectRelease:
		c.call(p, e)
	case effectBegin:
		c.begin(p, e)
	case effectInstall:
		p.seen.hurt, p.seen.fresh, p.seen.granted = 0, true, c.w.now
		if p.seen.reason == mendless {
			p.seen.reason = endless
		}
	case effectCancel:
		c.cancelled(p, e)
	case effectPublish:
		c.published(p, e.event)
	case effectOver:
		p.seen.over = e.term
	case effectDiscard:
		p.seen.owes = 0
	case effectReport:
		if e.text == "a fact without a rule" {
			c.fail("table", "host %d: %v", p.h.id, e.err)
		}
	case effectFinish:
		if p.seen.working || p.seen.announced != 0 || p.seen.call != 0 || p.seen.owes != 0 {
			c.fail("I11", "host %d: the end, with work %v, announced %d, call %d, not given up %d",
				p.h.id, p.seen.working, p.seen.announced, p.seen.call, p.seen.owes)
		}
		if p.client.observing != nil || p.client.waiting != nil {
			c.fail("I11", "host %d: the end, and it still observes, or listens for a loss", p.h.id)
		}
		if p.seen.reason == endless && (p.limit == 0 || p.seen.errored <= p.limit) {
			c.fail("I19", "host %d: the campaign ends for good without a reason: %v", p.h.id, e.err)
		}
	default:
	}
}

// call holds for the calls of which one may be under way.
func (c *checker) call(p *process, e effect) {
	if p.seen.call != 0 {
		c.fail("calls", "host %d: %s while another call is under way", p.h.id, effectNames[e.kind])
	}
	p.seen.call, p.seen.since, p.seen.bound = e.seq, c.w.now, e.bound
	switch e.kind {
	case effectRenew, effectProclaim:
		proofs := p.seen.proofs[e.term]
		if e.bound <= 0 || e.bound > c.w.safeSoft(proofs[len(proofs)-1].ttl)/7 {
			c.fail("calls", "host %d: %s is bounded by %v", p.h.id, effectNames[e.kind], e.bound)
		}
		if p.seen.stopped == e.term && p.h.instant().Since(p.seen.told) > p.d.m.rules.drainLimit {
			c.fail("I14", "host %d: %s, though the work has outlived its limit", p.h.id, effectNames[e.kind])
		}
		return
	case effectRelease:
		if e.bound <= 0 || e.bound > p.d.m.rules.release/3 {
			c.fail("calls", "host %d: a release is bounded by %v", p.h.id, e.bound)
		}
		if t := p.d.term; t != nil && t.number == e.term && t.span.Load() != nil {
			c.fail("I8", "host %d: released before the term was over", p.h.id)
		}
		if p.seen.hurried {
			if p.seen.tries++; p.seen.tries > 1 {
				c.fail("I11", "host %d: a second try to release under a panic", p.h.id)
			}
		}
		p.seen.owes = 0
	default:
		if string(e.value) != p.seen.value {
			c.fail("proclaim", "host %d: announces %q, the last value that was taken is %q", p.h.id, e.value, p.seen.value)
		}
		p.seen.stood = p.h.instant()
		c.stands(p)
	}
	if p.seen.working {
		c.fail("I8", "host %d: %s under work that runs", p.h.id, effectNames[e.kind])
	}
}

// stands holds when a candidate begins to stand: what it held before is given up, and when it was asked
// to resign, others had their time.
func (c *checker) stands(p *process) {
	p.seen.hurt = 0
	if p.seen.reason == mendless {
		p.seen.reason = endless // the candidacy will tell
	}
	if p.seen.owes != 0 {
		c.fail("I15", "host %d: stands again without having given up what it held", p.h.id)
	}
	now := p.h.instant()
	if waited := max(now.Since(p.seen.resigned), now.Since(p.seen.paused)); p.seen.resting && (!p.seen.pausing || waited < p.d.m.rules.pause) {
		c.fail("I17", "host %d: resigned, and stands again without a pause", p.h.id)
	}
	p.seen.resting = false
}

func (c *checker) begin(p *process, e effect) {
	c.w.stats.terms++
	p.seen.fresh, p.seen.granted = true, c.w.now
	cand := p.client.held[e.term]
	switch {
	case p.h.instant().Since(e.grant.Sent) >= c.w.safeSoft(e.grant.TTL):
		c.fail("I16", "host %d: term %d begins when its work should stop", p.h.id, e.token)
	case cand == nil || cand.token != e.token:
		c.fail("I3", "host %d: term %d is not what was won", p.h.id, e.token)
	case c.unsound:
	case e.token <= p.seen.token:
		c.fail("I3", "host %d: term %d after %d", p.h.id, e.token, p.seen.token)
	case c.holders[e.token] != nil:
		c.fail("I3", "two processes have had token %d", e.token)
	}
	if p.seen.working {
		c.fail("I7", "host %d: a term begins under work of the last one", p.h.id)
	}
	c.holders[e.token] = p
	p.seen.token, p.seen.hurt = e.token, 0
	p.seen.denials, p.seen.errored = 0, 0
}

// cancelled: a term ends because somebody asked, because the store took it away, or because it could not
// be renewed; and for that three attempts have failed, or the host was not itself.
func (c *checker) cancelled(p *process, e effect) {
	hurt := p.seen.hurt
	p.seen.stopped, p.seen.told = e.term, p.h.instant()
	if p.seen.call != 0 {
		hurt++
	}
	switch {
	case errors.Is(e.err, ErrExpired):
		if p.seen.reason == mendless { // and nothing has mended it in time
			p.seen.reason = endNow
		}
		if hurt < 3 && p.h.outage+2*c.w.ttl < c.w.now {
			c.fail("I13", "host %d: the term expired after %d failed calls", p.h.id, hurt)
		}
	case errors.Is(e.err, ErrLost):
		if !c.unsound && c.w.store.own(p.client.held[e.term]) != nil {
			c.fail("I13", "host %d: the term was given up as lost, but the store still has it", p.h.id)
		}
	}
}

// published holds for every event: a term's end follows its beginning, and tokens never go back.
func (c *checker) published(p *process, n notice) {
	s := &p.seen
	switch {
	case n.ends != 0 && n.ends != s.announced:
		c.fail("I7", "host %d: told the end of term %d, announced was %d", p.h.id, n.ends, s.announced)
	case n.ends == 0 && s.announced != 0:
		c.fail("I7", "host %d: %v published while a term was announced", p.h.id, n.state)
	case n.ends != 0 && p.d.term.ctx.Err() == nil:
		c.fail("I7", "host %d: the end of a term is told before its context has ended", p.h.id)
	}
	s.announced = n.term
	if n.state == StateErrored {
		s.errored++
	}
	if t := n.leader.Token; t != 0 {
		if t < s.shown && !c.unsound {
			c.fail("I9", "host %d: published leader %d after %d", p.h.id, t, s.shown)
		}
		s.shown = t
		if n.term == 0 && t == s.token && !c.unsound {
			c.fail("I9", "host %d: shows its own term %d, which was told to stop, as the leader", p.h.id, t)
		}
	}
}

// taken holds for every event that a listener sees.
func (c *checker) taken(l *eye, r record, previous State) {
	c.w.note(l.p.h, "sees", uint64(r.state))
	if l.owed && (r.err == nil || previous != StateLeader) {
		c.fail("I7", "host %d: the loop saw a term begin and then %v after %v, error %v", l.p.h.id, r.state, previous, r.err)
	}
	l.last, l.owed = r.state, r.term != nil
	if r.term == nil {
		return
	}
	if r.term.ctx.Err() != nil || r.term.span.Load() == nil {
		c.fail("I7", "host %d: the loop saw term %d begin, which is over", l.p.h.id, r.term.token)
	}
	if l.taken == r.term.number {
		c.fail("I7", "host %d: term %d began twice", l.p.h.id, r.term.token)
	}
	l.taken = r.term.number
}

// lastEvent holds when nothing will follow.
func (c *checker) lastEvent(l *loop) {
	if l.owed {
		c.fail("I7", "host %d: the loop ended without being told the end of its term", l.p.h.id)
	}
	if l.last != StateResigned && l.last != StateErrored {
		c.fail("I7", "host %d: the last event was %v", l.p.h.id, l.last)
	}
}

// answered holds for Confirm and Proclaim: nil says that the store was asked after the question, and has taken the
// value.
func (c *checker) answered(p *process, a simAsk, err error) {
	switch {
	case err != nil:
		return
	case a.kind == factProclaimAsked:
		p.seen.value = a.value
		if !slices.ContainsFunc(p.seen.takes, func(t take) bool { return t.value == a.value && t.at >= a.at }) {
			c.fail("proclaim", "host %d: the store is said to have taken %q, and has not", p.h.id, a.value)
		}
		return
	}
	proofs := p.seen.proofs[p.d.m.term]
	if len(proofs) == 0 || proofs[len(proofs)-1].at < a.at {
		c.fail("confirm", "host %d: confirmed by an answer to an earlier question", p.h.id)
	}
	if !c.valid(p) && !errors.Is(context.Cause(p.d.term.ctx), ErrExpired) && c.w.now > c.excused {
		c.w.stats.doubted++ // legal: Term.Confirm looks at Valid once more
	}
}
