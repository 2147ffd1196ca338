package election

import (
	"context"
	"errors"
	"time"
)

// loop plays the caller's goroutine: the body of a loop over Events, or the function given to Run. It
// takes events from a real subscription, works while it leads, and is in no hurry to stop.
type loop struct {
	eye
	run bool // it is Run's

	waking bool // scheduled to look at its queue
	busy   bool // in the body, or in lead
	ended  bool
	quit   bool // leaves when the body comes back

	term    *Term // that the body works for
	extra   int   // functions of term.Go that run
	leaving *localTimer
}

// eye is what the checker remembers of one listener.
type eye struct {
	p     *process
	sub   *subscription
	last  State
	taken uint64 // the term whose Leader event it took
	owed  bool   // saw a term begin, and not yet how it ended
}

// look plays a loop over Watch that has time.
func (e *eye) look() {
	for {
		r, ok, _ := e.sub.pop()
		if !ok {
			return
		}
		previous := e.sub.before
		e.sub.before = r.state
		e.p.w.check.taken(e, r, previous)
	}
}

// wake has the loop look at its queue soon, if it waits for it.
func (l *loop) wake() {
	if l.waking || l.busy || l.ended {
		return
	}
	l.waking = true
	w := l.p.w
	d := w.upTo(time.Millisecond)
	if w.chance(20) && !w.calm {
		d = w.upTo(w.ttl)
	}
	l.p.h.after(d, func() {
		l.waking = false
		if !l.p.dead {
			l.take()
		}
	})
}

// take is subscription.take, up to the point where it would wait.
func (l *loop) take() {
	if l.busy || l.ended {
		return
	}
	if l.sub.told {
		l.letGo()
	}
	r, ok, closed := l.sub.pop()
	switch {
	case ok:
		previous := l.sub.before
		l.sub.before = r.state
		l.p.w.check.taken(&l.eye, r, previous)
		l.body(r)
	case closed:
		l.p.w.check.lastEvent(l)
		l.leave(false)
	}
}

// letGo returns what the loop held of a term. What then follows is the driver's business.
func (l *loop) letGo() {
	l.sub.letGo()
	l.p.attention()
}

func (l *loop) body(r record) {
	w := l.p.w
	l.busy = true
	if r.term == nil {
		d := time.Duration(0)
		if w.chance(10) && !w.calm && !l.run {
			d = w.upTo(w.ttl) // a body in no hurry
		}
		l.leaving = l.p.h.after(d, l.back)
		return
	}
	l.term = r.term
	w.check.working(l.p, r.term)
	l.leaving = nil
	for range w.rnd.IntN(3) {
		l.spawn()
	}
	if w.chance(16) && !w.calm { // Resign, from inside
		l.p.h.after(w.upTo(time.Millisecond), func() { l.p.tell(fact{kind: factResignAsked, err: ErrResigned}) })
	}
	if w.chance(8) && !w.calm { // the work is done by itself
		l.leaving = l.p.h.after(w.upTo(2*w.ttl), l.done)
	}
	l.act(r.term)
}

// act writes to the guarded resource, now and again, as long as the term says that it may.
func (l *loop) act(t *Term) {
	if l.p.dead || l.term != t {
		return
	}
	w := l.p.w
	s := t.span.Load()
	if s == nil || l.p.h.instant().Since(s.sent) >= s.hard {
		l.p.seen.over = t.number // whoever looks sees that it is over: that is for good
	}
	if t.Valid() {
		if l.p.seen.over == t.number {
			w.check.fail("I4", "host %d: term %d is valid though it is over", l.p.h.id, t.token)
		}
		w.guard.write(l.p, t)
	}
	l.p.h.after(w.ttl/40+w.upTo(w.ttl/10), func() { l.act(t) })
}

// spawn is Term.Go.
func (l *loop) spawn() {
	t := l.term
	if !t.work.begin() {
		return
	}
	l.extra++
	var poll func()
	poll = func() {
		if l.p.dead {
			return
		}
		if t.ctx.Err() == nil && !l.p.w.chance(30) {
			l.p.h.after(l.p.w.ttl/20+l.p.w.upTo(l.p.w.ttl/3), poll)
			return
		}
		l.extra--
		l.p.w.check.rested(l)
		t.work.end()
	}
	poll()
}

// told is when the term's context ends. Work stops at once, soon, late, after the lease, or after the
// limit at which it is given up.
func (l *loop) told() {
	w := l.p.w
	if l.term == nil || l.quit {
		return
	}
	var d time.Duration
	switch n := w.rnd.IntN(20); {
	case w.calm || n < 12:
		d = w.upTo(hand)
	case n < 16:
		d = w.upTo(w.ttl / 4)
	case n < 19:
		d = w.upTo(2 * w.ttl)
	default:
		d = 10 * w.ttl
	}
	l.leaving.stop()
	l.leaving = l.p.h.after(d, l.back)
}

// hurry lets stuck work return.
func (l *loop) hurry() {
	if l.term != nil && l.term.ctx.Err() == nil {
		return
	}
	if l.busy && l.leaving != nil && !l.leaving.dead {
		l.leaving.stop()
		l.leaving = l.p.h.after(0, l.back)
	}
}

// done is the body that leaves the loop while it leads, or lead that returns by itself.
func (l *loop) done() {
	if l.p.dead || l.p.finished || l.term == nil {
		return
	}
	if l.run {
		l.back()
		return
	}
	l.quit = true
	l.back()
}

// leaveSoon has the body leave the loop for good.
func (l *loop) leaveSoon() {
	switch {
	case l.ended || l.quit:
	case l.busy:
		l.done()
	case !l.run:
		l.leave(true)
	}
}

// back is the return of the body, or of lead.
func (l *loop) back() {
	if l.p.dead || !l.busy {
		return
	}
	l.busy = false
	l.leaving.stop()
	t := l.term
	l.term = nil
	l.p.w.check.rested(l)
	if t != nil && l.run {
		l.returned(t)
	}
	if l.quit {
		l.leave(true)
		return
	}
	if l.p.w.chance(2) {
		l.take()
		return
	}
	l.wake()
}

// returned is driver.returned.
func (l *loop) returned(t *Term) {
	p := l.p
	if p.d.ctx.Err() != nil {
		p.tell(fact{kind: factStopAsked, err: context.Cause(p.d.ctx)})
	}
	var err error
	if t.ctx.Err() == nil && p.w.chance(2) {
		err = errSimWork
	}
	p.tell(fact{kind: factLeadReturned, seq: t.number, err: err})
}

var errSimWork = errors.New("sim: the work has failed")

// leave is what follows the range: the campaign is left, and the loop's hold on its term with it.
func (l *loop) leave(ask bool) {
	if l.ended {
		return
	}
	l.ended = true
	hurry := 0
	if ask && l.p.w.chance(4) { // by a panic
		hurry = 1
	}
	stop := func() { l.p.tell(fact{kind: factStopAsked, err: ErrResigned, n: hurry}) }
	if ask && l.p.w.chance(2) {
		stop()
		ask = false
	}
	l.p.hub.unsubscribe(l.sub)
	if ask {
		stop()
	}
	l.p.attention()
}
