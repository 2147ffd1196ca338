package election

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/retry"
)

var (
	errSimTimeout = errors.New("sim: no answer in time")
	errSimRemoved = errors.New("sim: the candidacy is gone from the store")
	errSimFull    = errors.New("sim: no space left")
	errSimDenied  = fmt.Errorf("sim: %w", backend.ErrDenied)
	errSimRefused = retry.Permanent(errors.New("sim: bad credentials"))
)

// simClient is a backend as the contract wants it, for one process: one session, no retries, every
// request bounded, leftovers removed before the session is used again.
type simClient struct {
	p         *process
	standing  *candidacy            // the Campaign under way
	held      map[uint64]*candidacy // by number of the campaign
	leftovers []*candidacy
	air       *rpc // the machine's call under way
	waiting   *candidacy
	observing *observation
	closed    bool
	refused   time.Duration // until when every call fails for good
}

// candidacy is one stand for the key, and the lease that comes of it.
type candidacy struct {
	client  *simClient
	id      uint64
	seq     uint64 // the machine's number of the Campaign
	value   []byte
	token   uint64
	proof   instant       // when the latest request that kept it alive was sent
	kept    bool          // there is such a proof
	proofAt time.Duration // in true time

	asking  bool // a request is in the air
	hint    bool // woken meanwhile
	leaving error
	written bool
	timer   *localTimer
	waitSeq uint64
}

func (c *candidacy) number() uint64 {
	if c == nil {
		return 0
	}
	return c.id
}

// rpc is one request and its answer, or the end of patience.
type rpc struct {
	by    deadline
	timer *localTimer
	done  func(answer)
	over  bool
}

func (r *rpc) finish(a answer) {
	if r.over {
		return
	}
	r.over = true
	r.timer.stop()
	r.done(a)
}

// bound is when the machine's call under way has to be back.
func (c *simClient) bound() deadline {
	if c.air == nil || c.air.over {
		return deadline{}
	}
	return c.air.by
}

// ask sends one request. done is called once: with the answer, or with an error when bound has passed.
func (c *simClient) ask(r request, bound time.Duration, done func(answer)) *rpc {
	h, w := c.p.h, c.p.w
	r.by = h
	call := &rpc{by: in(h.instant(), bound), done: done}
	call.timer = h.after(bound, func() { call.finish(answer{err: errSimTimeout}) })
	if w.now < c.refused {
		w.at(w.now+w.delay(h), func() { c.p.receive(func() { call.finish(answer{err: errSimRefused}) }) })
		return call
	}
	copies := 1
	if !w.calm && w.chance(w.lossy) {
		copies = 2 // sent again by some layer below, or stuck in an old connection
	}
	for n := range copies {
		delay := w.delay(h)
		if n > 0 {
			delay += w.upTo(w.ttl)
		}
		if w.lost(h, h.cutTo) || w.store.down > 0 {
			if w.chance(2) { // refused at once, not lost
				w.at(w.now+delay, func() { c.p.receive(func() { call.finish(answer{err: errSimTimeout}) }) })
			}
			continue
		}
		w.at(w.snapped(c.p, w.now+delay), func() { c.arrive(r, call) })
	}
	return call
}

// arrive is where the store takes the request, and answers.
func (c *simClient) arrive(r request, call *rpc) {
	h, w := c.p.h, c.p.w
	if w.store.down > 0 {
		return
	}
	a := w.store.apply(r)
	if c.p.dead || w.lost(h, h.cutFrom) {
		return
	}
	w.at(w.snapped(c.p, w.now+w.delay(h)), func() { c.p.receive(func() { call.finish(a) }) })
}

// later tells the machine from another goroutine, as all answers come.
func (c *simClient) later(f fact) { c.p.h.after(time.Microsecond, func() { c.p.tell(f) }) }

func (c *simClient) campaign(seq uint64, value []byte) {
	w := c.p.w
	w.names++
	cand := &candidacy{client: c, id: w.names, seq: seq, value: slices.Clone(value)}
	if w.planted == plantSameIdentity {
		cand.id = uint64(c.p.h.id) + 1
	}
	c.standing = cand
	c.p.d.cancelCall = func() { c.abandon(cand) }
	if c.closed {
		c.standing = nil
		c.later(fact{kind: factFailed, seq: seq, err: backend.ErrClosed, class: classClosed})
		return
	}
	c.tidy(cand)
}

// tidy removes what earlier terms and candidacies may have left, then joins.
func (c *simClient) tidy(cand *candidacy) {
	if len(c.leftovers) == 0 {
		c.join(cand)
		return
	}
	old := c.leftovers[0]
	cand.asking = true
	c.ask(request{op: opRemove, c: old}, c.p.w.ttl, func(a answer) {
		cand.asking = false
		if a.err == nil {
			c.settled(old)
		}
		switch {
		case a.err != nil:
			c.fail(cand, a.err)
		case cand.leaving != nil:
			c.fail(cand, cand.leaving)
		default:
			c.tidy(cand)
		}
	})
}

func (c *simClient) join(cand *candidacy) {
	cand.written = true
	c.inquire(cand, request{op: opAcquire, c: cand, value: cand.value})
}

// inquire asks the store for the key, or whether it is ours by now.
func (c *simClient) inquire(cand *candidacy, r request) {
	if cand.asking || c.standing != cand {
		cand.hint = true
		return
	}
	sent, at := c.p.h.instant(), c.p.w.now
	cand.asking, cand.hint = true, false
	cand.timer.stop()
	c.ask(r, c.p.w.ttl, func(a answer) {
		cand.asking = false
		switch {
		case a.err != nil:
			c.fail(cand, a.err)
		case a.gone:
			c.fail(cand, errSimRemoved)
		case a.won:
			c.win(cand, a, sent, at)
		case cand.leaving != nil:
			c.fail(cand, cand.leaving)
		case cand.hint:
			c.woken(cand)
		default:
			c.keep(cand, a, sent, at)
		}
	})
}

// keep waits: until woken, or for the next keep-alive, which is the safety read as well.
func (c *simClient) keep(cand *candidacy, a answer, sent instant, at time.Duration) {
	w := c.p.w
	cand.proof, cand.proofAt, cand.kept = sent, at, true
	pause := w.ttl / 3
	if !w.profile.queue {
		pause = min(a.wait, w.ttl) + w.upTo(w.ttl/20)
	}
	if w.planted == plantNoSafetyRead {
		return
	}
	cand.timer = c.p.h.after(pause, func() { c.look(cand) })
}

func (c *simClient) look(cand *candidacy) {
	if c.p.w.profile.queue {
		c.inquire(cand, request{op: opCheck, c: cand})
		return
	}
	c.inquire(cand, request{op: opAcquire, c: cand, value: cand.value})
}

// woken is a hint that the key may be ours now.
func (c *simClient) woken(cand *candidacy) {
	w := c.p.w
	switch {
	case c.standing != cand, w.planted == plantNoWake:
	case w.planted == plantNoRecheck && w.profile.queue:
		c.win(cand, answer{token: w.store.tokens, ttl: w.granted}, c.p.h.instant(), w.now)
	case w.profile.queue:
		c.look(cand)
	default:
		cand.timer.stop()
		cand.timer = c.p.h.after(w.upTo(w.ttl/20), func() { c.look(cand) })
	}
}

func (c *simClient) win(cand *candidacy, a answer, sent instant, at time.Duration) {
	if c.standing != cand {
		return
	}
	c.standing, cand.token = nil, a.token
	cand.timer.stop()
	if c.p.w.profile.kept && cand.kept {
		sent, at = cand.proof, cand.proofAt
	}
	c.held[cand.seq] = cand
	c.p.tell(fact{kind: factWon, seq: cand.seq, token: a.token, grant: c.grant(cand, a, sent, at)})
}

// grant is what a proof of the lease allows. The checker hears of the same proof from here.
func (c *simClient) grant(cand *candidacy, a answer, sent instant, at time.Duration) grant {
	c.p.w.check.proved(cand, a, sent, at)
	if c.p.w.planted == plantDeadlineFromAnswer {
		sent = c.p.h.instant()
	}
	return grant{Sent: sent, TTL: a.ttl}
}

// abandon is a cancelled Campaign. What is in the air may still bring the lease.
func (c *simClient) abandon(cand *candidacy) {
	if c.standing != cand || cand.leaving != nil {
		return
	}
	cand.leaving = context.Canceled
	if cand.asking && c.p.w.chance(2) {
		return
	}
	c.fail(cand, context.Canceled)
}

// fail ends a candidacy, after one bounded try to leave nothing behind.
func (c *simClient) fail(cand *candidacy, err error) {
	if c.standing != cand {
		return
	}
	c.standing = nil
	cand.timer.stop()
	f := fact{kind: factFailed, seq: cand.seq, err: err, class: classify(err)}
	if !cand.written {
		c.later(f)
		return
	}
	if c.p.w.planted == plantLeaveBehind {
		c.haunt(cand)
		c.later(f)
		return
	}
	c.remove(cand, time.Second, func(error) { c.p.tell(f) })
}

// haunt keeps a candidacy alive that nobody stands for any more.
func (c *simClient) haunt(cand *candidacy) {
	c.ask(request{op: opCheck, c: cand}, c.p.w.ttl, func(answer) {
		c.p.h.after(c.p.w.ttl/3, func() { c.haunt(cand) })
	})
}

// remove takes a candidacy out of the store. Until that is confirmed it is remembered.
func (c *simClient) remove(cand *candidacy, bound time.Duration, done func(error)) *rpc {
	c.settled(cand)
	c.leftovers = append(c.leftovers, cand)
	return c.ask(request{op: opRemove, c: cand}, bound, func(a answer) {
		if a.err == nil {
			c.settled(cand)
		}
		done(a.err)
	})
}

func (c *simClient) settled(cand *candidacy) {
	c.leftovers = slices.DeleteFunc(c.leftovers, func(o *candidacy) bool { return o == cand })
}
