package rediskv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/backend"
)

// gatherFor is how long a renewal waits for the batch before it to be answered, so that those who come
// meanwhile go out with it. It is short, because an answer that never comes must not hold up the next
// attempt.
const gatherFor = 10 * time.Millisecond

// renewal is one lease's part in a batch. What follows done may be read when that is closed.
type renewal struct {
	l     *Lease
	done  chan struct{}
	ours  bool
	grant backend.Grant
	err   error
}

// batch is renewals that go out together.
type batch struct {
	renewals []*renewal
	done     chan struct{}
}

// join adds l to the batch that is about to be sent, making one if there is none. Who leaves it costs the
// others nothing.
func (b *Backend) join(ctx context.Context, l *Lease) *renewal {
	r := &renewal{l: l, done: make(chan struct{})}
	b.mu.Lock()
	if b.gathering != nil {
		b.gathering.renewals = append(b.gathering.renewals, r)
		b.mu.Unlock()
		return r
	}
	g := &batch{renewals: []*renewal{r}, done: make(chan struct{})}
	b.gathering = g
	before := b.air
	b.mu.Unlock()
	ctx = context.WithoutCancel(ctx)
	b.spawn(func() { b.send(ctx, g, before) })
	return r
}

// send waits for the batch before, not for long, and then sends g and hands out the answers.
func (b *Backend) send(ctx context.Context, g *batch, before <-chan struct{}) {
	if before != nil {
		enough := time.NewTimer(gatherFor)
		select {
		case <-before:
		case <-enough.C:
		}
		enough.Stop()
	}
	b.mu.Lock()
	b.gathering, b.air = nil, g.done
	b.mu.Unlock()
	defer close(g.done)
	defer func() {
		for _, r := range g.renewals {
			close(r.done)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, b.bound)
	defer cancel()
	unknown := b.exchange(ctx, g.renewals, false)
	if len(unknown) > 0 {
		b.exchange(ctx, unknown, true)
	}
}

// exchange sends renewals in one round trip, and returns those that were not carried out because the server
// does not know the script.
func (b *Backend) exchange(ctx context.Context, renewals []*renewal, full bool) (unknown []*renewal) {
	sent := backend.Now()
	answers := make([]*redis.Cmd, len(renewals))
	if len(renewals) == 1 {
		answers[0] = renewals[0].l.extend(ctx, b.client, full)
	} else {
		pipe := b.client.Pipeline()
		for i, r := range renewals {
			answers[i] = r.l.extend(ctx, pipe, full)
		}
		// Each answer has its own error.
		_, _ = pipe.Exec(ctx)
	}
	for i, r := range renewals {
		ours, err := answers[i].Bool()
		switch {
		case err != nil && !full && redis.HasErrorPrefix(err, "NOSCRIPT"):
			unknown = append(unknown, r)
		case err != nil && (ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded)):
			r.err = fmt.Errorf("%w within %v: %w", errNoAnswer, b.bound, err)
		case err != nil:
			r.err = err
		case ours:
			r.ours, r.grant = true, backend.Grant{Sent: sent, TTL: b.ttl}
			b.mu.Lock()
			r.l.c.grant = r.grant
			b.mu.Unlock()
		}
	}
	return unknown
}
