package election

import (
	"context"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// call makes one of the machine's bounded calls on a lease.
func (c *simClient) call(e effect) {
	cand := c.held[e.term]
	c.p.d.cancelCall = func() {
		// Its answer may be at hand already: then this comes too late, and changes nothing.
		air := c.air
		c.p.h.after(time.Microsecond, func() { air.finish(answer{err: context.Canceled}) })
	}
	f := fact{seq: e.seq}
	sent, at := c.p.h.instant(), c.p.w.now
	answered := func(ok, bad factKind) func(answer) {
		return func(a answer) {
			f.kind, f.err = ok, a.err
			if a.gone {
				f.err = backend.ErrLost
			}
			if f.err == nil && ok == factRenewed {
				f.grant = c.grant(cand, a, sent, at)
			}
			if f.err != nil {
				f.kind = bad
			}
			f.class = classify(f.err)
			c.p.tell(f)
		}
	}
	switch e.kind {
	case effectRenew:
		c.air = c.ask(request{op: opRenew, c: cand}, e.bound, answered(factRenewed, factRenewFailed))
	case effectProclaim:
		c.air = c.ask(request{op: opProclaim, c: cand, value: e.value}, e.bound, answered(factProclaimed, factProclaimed))
	default: // effectRelease
		c.air = c.remove(cand, e.bound, func(err error) {
			c.p.tell(fact{kind: factReleased, seq: e.seq, err: err, class: classify(err)})
		})
	}
}

// discard gives back a lease that the machine has no use for.
func (c *simClient) discard(number uint64) {
	if cand := c.held[number]; cand != nil {
		delete(c.held, number)
		c.remove(cand, c.p.d.m.rules.release, func(error) {})
	}
}

// wait listens for the loss of a lease.
func (c *simClient) wait(e effect) {
	cand, s := c.held[e.term], c.p.w.store
	cand.waitSeq = e.seq
	c.p.d.cancelWait = func() { c.unwait(cand) }
	if c.closed {
		c.later(fact{kind: factClosed, seq: e.seq, err: backend.ErrClosed, class: classClosed})
		return
	}
	c.waiting = cand
	s.listening = append(s.listening, cand)
	if s.own(cand) == nil && !c.p.w.profile.mute {
		s.push(c.p, func() { c.lost(cand) })
	}
	c.attend(e.seq, func() bool { return c.waiting == cand && cand.waitSeq == e.seq }, func() {
		c.unwait(cand)
		c.p.tell(fact{kind: factWaitFailed, seq: e.seq, err: errSimTimeout})
	})
}

func (c *simClient) unwait(cand *candidacy) {
	s := c.p.w.store
	for i, o := range s.listening {
		if o == cand {
			s.listening = append(s.listening[:i], s.listening[i+1:]...)
			break
		}
	}
	if c.waiting == cand {
		c.waiting = nil
	}
}

// lost is the store's word that a record is gone.
func (c *simClient) lost(cand *candidacy) {
	if c.waiting == cand {
		seq := cand.waitSeq
		c.unwait(cand)
		c.p.tell(fact{kind: factLost, seq: seq, err: backend.ErrLost, class: classLost})
	}
}

// attend looks after a stream: one that a fault has cut notices sooner or later, and breaks.
func (c *simClient) attend(seq uint64, open func() bool, broken func()) {
	w := c.p.w
	c.p.h.after(w.ttl/8+w.upTo(w.ttl), func() {
		switch {
		case c.p.dead || !open():
		case (c.p.h.cutFrom > 0 || c.p.h.cutTo > 0 || w.store.down > 0) && w.chance(2):
			broken()
		default:
			c.attend(seq, open, broken)
		}
	})
}

// observation is one Observe call.
type observation struct {
	client *simClient
	seq    uint64
	rev    uint64
	primed bool
}

func (c *simClient) observe(seq uint64) {
	s := c.p.w.store
	o := &observation{client: c, seq: seq}
	c.p.d.cancelObserve = func() { c.unobserve(o) }
	if c.closed {
		c.later(fact{kind: factObserveFailed, seq: seq, err: backend.ErrClosed, class: classClosed})
		return
	}
	c.observing = o
	s.observers = append(s.observers, o)
	o.read()
	c.attend(seq, func() bool { return c.observing == o }, func() { o.failed(errSimTimeout) })
}

// read asks who leads, now and once per TTL: watches are hints.
func (o *observation) read() {
	c := o.client
	c.ask(request{op: opRead}, c.p.w.ttl, func(a answer) {
		switch {
		case c.observing != o:
		case a.err != nil:
			o.failed(a.err)
		default:
			o.yield(a.leader, a.rev)
			c.p.h.after(c.p.w.ttl, func() {
				if c.observing == o && !c.p.dead {
					o.read()
				}
			})
		}
	})
}

// yield passes on what is newer than all that was seen before. A weak store's is passed on as it comes.
func (o *observation) yield(l leader, rev uint64) {
	c := o.client
	if c.observing != o || o.primed && rev <= o.rev && !c.p.w.weak {
		return
	}
	o.rev, o.primed = rev, true
	c.p.tell(fact{kind: factObserved, seq: o.seq, leader: l})
}

func (o *observation) failed(err error) {
	if o.client.observing == o {
		o.client.unobserve(o)
		o.client.p.tell(fact{kind: factObserveFailed, seq: o.seq, err: err, class: classify(err)})
	}
}

func (c *simClient) unobserve(o *observation) {
	s := c.p.w.store
	for i, each := range s.observers {
		if each == o {
			s.observers = append(s.observers[:i], s.observers[i+1:]...)
			break
		}
	}
	if c.observing == o {
		c.observing = nil
	}
}

// close is Backend.Close: nothing new is taken, what waits ends, leases that are held stay held.
func (c *simClient) close() {
	if c.closed {
		return
	}
	c.closed = true
	if cand := c.standing; cand != nil {
		c.fail(cand, backend.ErrClosed)
	}
	if cand := c.waiting; cand != nil {
		c.unwait(cand)
		c.later(fact{kind: factClosed, seq: cand.waitSeq, err: backend.ErrClosed, class: classClosed})
	}
	if o := c.observing; o != nil {
		c.unobserve(o)
		c.later(fact{kind: factObserveFailed, seq: o.seq, err: backend.ErrClosed, class: classClosed})
	}
}

// vanish is what is left in the store of a process that is gone: what was written, but no listener.
func (c *simClient) vanish() {
	if c.waiting != nil {
		c.unwait(c.waiting)
	}
	if c.observing != nil {
		c.unobserve(c.observing)
	}
}
