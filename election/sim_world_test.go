package election

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// The simulation: machines, their drivers' effects, terms and subscriptions are the production code; the
// network, the store, the clocks and the work are models, in one thread, in virtual time, with one
// seeded source of chance. The same scenario runs the same way every time.

// world is one run.
type world struct {
	scenario

	now   time.Duration // true time
	seq   uint64
	queue []simEvent
	rnd   *rand.Rand

	ctx   context.Context //nolint:containedctx // the test's, the root of every campaign's
	hosts []*host
	store *simStore
	guard resource
	check checker
	stats simStats

	peace   time.Duration // true time when the last fault is over
	names   uint64        // identities given out
	calm    bool          // faults are over; nobody wishes for anything any more
	closing bool          // everybody was asked to leave
	hash    uint64
	tracing bool
	trace   []string
}

// simEvent is something to happen at a true time; of two at the same time, the one planned first.
type simEvent struct {
	at  time.Duration
	seq uint64
	f   func()
}

func (e simEvent) before(o simEvent) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// at plans f. The queue is a binary heap, written out because container/heap would allocate for each.
func (w *world) at(t time.Duration, f func()) {
	w.seq++
	w.queue = append(w.queue, simEvent{max(t, w.now), w.seq, f})
	q := w.queue
	for i := len(q) - 1; i > 0; {
		up := (i - 1) / 2
		if !q[i].before(q[up]) {
			break
		}
		q[i], q[up] = q[up], q[i]
		i = up
	}
}

func (w *world) pop() simEvent {
	q := w.queue
	first, last := q[0], len(q)-1
	q[0], q[last] = q[last], simEvent{}
	q = q[:last]
	w.queue = q
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			break
		}
		if down+1 < last && q[down+1].before(q[down]) {
			down++
		}
		if !q[down].before(q[i]) {
			break
		}
		q[i], q[down] = q[down], q[i]
		i = down
	}
	return first
}

// until lets the world run to t, or to the first violation.
func (w *world) until(t time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= t && w.check.violation == nil {
		e := w.pop()
		w.now = e.at
		e.f()
		w.inspect()
	}
	w.now = max(w.now, t)
}

// note writes one line of the trace: into the hash always, as text when somebody will read it.
func (w *world) note(h *host, what string, n uint64) {
	id := -1
	if h != nil {
		id = h.id
	}
	const prime = 1099511628211
	mix := func(v uint64) { w.hash = (w.hash ^ v) * prime }
	mix(uint64(w.now))
	mix(uint64(id + 1))
	mix(n)
	for i := range len(what) {
		mix(uint64(what[i]))
	}
	if w.tracing {
		who := "store"
		if h != nil {
			who = fmt.Sprintf("host%d", h.id)
		}
		w.trace = append(w.trace, fmt.Sprintf("%13.6fs  %-6s %s %d", w.now.Seconds(), who, what, n))
	}
}

// chance is true once in n times.
func (w *world) chance(n int) bool { return w.rnd.IntN(n) == 0 }

// upTo draws a duration below d.
func (w *world) upTo(d time.Duration) time.Duration {
	return time.Duration(w.rnd.Int64N(int64(max(d, 1))))
}

// result is what a run leaves.
type result struct {
	seed      uint64
	violation *violation
	stats     simStats
	hash      uint64
	trace     []string
}

// simulate runs one scenario: chaos, then calm in which somebody must lead, then the end, after which
// nothing may be left.
func simulate(ctx context.Context, s scenario, tracing bool) result {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &world{scenario: s, ctx: ctx, tracing: tracing, now: time.Hour, hash: 14695981039346656037}
	w.rnd = rand.New(rand.NewPCG(s.seed, 2))
	w.check.init(w)
	w.guard.w = w
	w.store = newSimStore(w)
	for i := range s.candidates {
		h := &host{w: w, id: i, rate: s.clocks[i].ppm, clock: simClock{
			ppm: s.clocks[i].ppm, blind: s.clocks[i].blind,
			mono: s.clocks[i].offset, wall: 1e6*time.Hour + s.clocks[i].offset, since: w.now,
		}}
		w.hosts = append(w.hosts, h)
		w.at(w.now+w.upTo(s.ttl), func() { newProcess(h) })
	}
	start := w.now
	w.peace = start + s.chaos
	for _, f := range s.faults {
		if f.host < s.candidates && f.at < s.chaos {
			w.at(start+f.at, func() { w.strike(f) })
		}
	}
	w.until(w.peace)
	w.settle()
	w.end()
	w.stats.simulated = w.now - start
	w.stats.events = w.seq
	return result{s.seed, w.check.violation, w.stats, w.hash, w.trace}
}

// settle heals everything, and holds the world to its liveness.
func (w *world) settle() {
	w.note(nil, "calm", 0)
	w.heal()
	healed := w.now
	for !w.somebodyLeads() && w.check.violation == nil {
		if w.now > healed+w.recovery() {
			w.check.fail("I10", "nobody leads %v after everything was healed", w.now-healed)
			return
		}
		w.until(w.now + w.ttl/20)
	}
	w.stats.recovered = max(w.stats.recovered, float64(w.now-healed)/float64(w.ttl))
	w.stats.patience = max(w.stats.patience, float64(w.now-healed)/float64(w.recovery()))
	w.until(w.now + 4*w.ttl + max(w.wants.pause, 0)) // what was in the air lands, and what was to end by itself ends
	w.check.calm()
	from := w.store.renewals
	w.until(w.now + 2*w.ttl)
	w.check.steady(w.store.renewals-from, 2*w.ttl)
	w.handover()
}

// recovery is how long the world may take until somebody leads: a forgotten record has to run out, be
// noticed by a safety read, and its successor with it when that one was orphaned by the same fault.
func (w *world) recovery() time.Duration {
	return w.expiry() + 2*w.check.granted + max(w.wants.pause, 0)
}

// expiry is how long the store may take to give the key of somebody who is gone to somebody else.
func (w *world) expiry() time.Duration {
	return time.Duration(w.profile.stretch)*w.check.granted*102/100 + w.profile.granularity + w.profile.lockDelay
}

// handover has the leader go in calm, by crash or by resignation, and holds the others to their readiness.
func (w *world) handover() {
	h := w.leading()
	if w.check.violation != nil || len(w.hosts) < 2 || h == nil || h.proc == nil || h.proc.client.held[h.proc.d.m.term] == nil {
		return
	}
	gone, patience := h.proc, w.ttl/2+time.Second // work looks whether it should stop now and again
	if w.seed&1 == 0 {
		w.note(h, "crashes in calm", 0)
		patience += w.expiry()
		h.crash(time.Hour)
	} else {
		w.note(h, "resigns in calm", 0)
		h.proc.tell(fact{kind: factResignAsked, err: ErrResigned})
	}
	begun, token := w.now, w.store.holder.token
	hasty := w.wants.pause >= 0 && w.wants.pause < w.ttl/4 // it may be back before the others have woken
	for w.check.violation == nil {
		next := w.leading()
		if next != nil && (next.proc != gone || hasty && w.store.holder.token != token) && w.somebodyLeads() {
			return
		}
		if w.now > begun+patience {
			w.check.fail("I10", "nobody leads %v after the leader went, with nothing wrong", w.now-begun)
			return
		}
		w.until(w.now + w.ttl/40)
	}
}

// end asks everybody to leave, and looks at what is left.
func (w *world) end() {
	if w.check.violation != nil {
		return
	}
	w.note(nil, "closing", 0)
	w.closing = true
	for _, h := range w.hosts {
		if h.proc != nil {
			h.proc.leave()
		}
	}
	w.until(w.now + 2*w.ttl)
	w.check.ended()
	w.until(w.now + time.Duration(w.profile.stretch+1)*w.ttl + w.profile.lockDelay + w.profile.granularity)
	w.check.empty()
}

func (w *world) somebodyLeads() bool {
	for _, h := range w.hosts {
		if h.proc != nil && w.check.valid(h.proc) {
			return true
		}
	}
	return false
}
