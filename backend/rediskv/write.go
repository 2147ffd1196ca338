package rediskv

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
)

// writing is one record that is to be taken, or to be removed. Its outcome may be read when done is closed.
type writing struct {
	c     *candidacy
	takes bool
	value string // that is announced by taking it
	done  chan struct{}
	outcome
}

// outcome is what came of a writing. Without an error, a record that was to be removed is gone.
type outcome struct {
	attempt
	err error
}

// round is writings that go out together.
type round struct {
	writings []*writing
	before   <-chan struct{} // closed when the round before is answered; nil if there was none
	done     chan struct{}
}

// write takes or removes a record: at once where no other is on its way, else together with others. So a process that
// stands for a thousand elections begins and ends with a handful of round trips, on few connections. Who leaves costs the
// others nothing. Where there are several servers each goes for itself, because what was sent to all of them together is
// answered when the slowest has, and one that hangs is to hold up no other's elections.
func (b *Backend) write(ctx context.Context, w *writing) error {
	if ctx.Err() != nil {
		return calls.Ended(ctx)
	}
	w.done = make(chan struct{})
	if r := b.enlist(w); r != nil {
		ctx := context.WithoutCancel(ctx)
		b.spawn(func() { b.dispatch(ctx, r) })
	}
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return calls.Ended(ctx)
	}
}

// enlist adds w to the round that gathers; or begins one and returns it, to be dispatched.
func (b *Backend) enlist(w *writing) *round {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.enlisting; r != nil {
		r.writings = append(r.writings, w)
		return nil
	}
	r := &round{writings: []*writing{w}, before: b.dispatched, done: make(chan struct{})}
	if b.several {
		r.before = nil
		return r
	}
	b.enlisting = r
	return r
}

// dispatch waits for the round before, not for long, and then sends r and hands out what came of it. All of it is bounded
// as one request.
func (b *Backend) dispatch(ctx context.Context, r *round) {
	defer close(r.done)
	if r.before != nil {
		enough := time.NewTimer(b.gather())
		defer enough.Stop()
		select {
		case <-r.before:
		case <-enough.C:
		}
	}
	b.mu.Lock()
	if b.enlisting == r {
		b.enlisting, b.dispatched = nil, r.done
	}
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, b.bound)
	defer cancel()
	for some := range slices.Chunk(r.writings, maxPipeline) {
		for i, o := range b.carryOut(ctx, some) {
			some[i].outcome = o
			close(some[i].done)
		}
	}
}

// carryOut sends writings in one round trip, unless the server does not know a script. A win that comes to light when the
// candidacy was given up already is undone.
func (b *Backend) carryOut(ctx context.Context, writings []*writing) []outcome {
	sent := backend.Now()
	answers := b.answers(ctx, writings, false)
	var unknown []int
	var inFull []*writing
	for i, answer := range answers {
		if redis.HasErrorPrefix(answer.Err(), "NOSCRIPT") {
			unknown, inFull = append(unknown, i), append(inFull, writings[i])
		}
	}
	for k, answer := range b.answers(ctx, inFull, true) {
		answers[unknown[k]] = answer
	}
	outcomes := make([]outcome, len(writings))
	var late []*writing
	for i, w := range writings {
		if w.takes {
			outcomes[i].attempt, outcomes[i].err = b.judge(w.c.key, sent, answers[i])
		} else {
			outcomes[i].err = answers[i].Err()
		}
		outcomes[i].err = b.inTime(ctx, outcomes[i].err)
		if outcomes[i].won && b.isGone(w.c) {
			late = append(late, &writing{c: w.c})
		}
	}
	if len(late) > 0 {
		b.carryOut(ctx, late) // or they expire
	}
	return outcomes
}

// answers is the requests of writings, in one round trip. Each answer has its own error.
func (b *Backend) answers(ctx context.Context, writings []*writing, full bool) []*redis.Cmd {
	return b.exec(ctx, len(writings), func(c redis.Scripter, i int) *redis.Cmd {
		key, number := writings[i].c.key, writings[i].c.number
		if !writings[i].takes {
			return evaluate(ctx, c, b.scripts.release, full, keys(key), b.holder, number, channel(key))
		}
		floor, raise := b.floor(key)
		heal := "0"
		if raise {
			heal = "1"
		}
		return evaluate(ctx, c, b.scripts.acquire, full, keys(key), b.holder, number, b.ttl.Milliseconds(),
			strconv.FormatUint(floor, 10), strconv.FormatUint(floor+1, 10), heal, writings[i].value, channel(key))
	})
}
