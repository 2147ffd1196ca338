package backendtest_test

import (
	"context"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/memory"
)

// telling makes of any session one that tells by itself what others are asked for.
type telling struct{ backend.Backend }

// Cut is what the harness kills sessions with.
func (b telling) Cut() { b.Backend.(interface{ Cut() }).Cut() }

func (b telling) Campaign(ctx context.Context, key string, value []byte) (backend.Lease, error) {
	l, err := b.Backend.Campaign(ctx, key, value)
	if l == nil || err != nil {
		return l, err
	}
	return tellingLease{l}, nil
}

func (b telling) TellLeaders(ctx context.Context, key string, tell func(backend.Leader, error)) (stop func()) {
	return meanwhile(ctx, func(ctx context.Context) {
		for l, err := range b.Observe(ctx, key) {
			if ctx.Err() == nil {
				tell(l, err)
			}
		}
	})
}

type tellingLease struct{ backend.Lease }

func (l tellingLease) TellLoss(ctx context.Context, tell func(error)) (stop func()) {
	return meanwhile(ctx, func(ctx context.Context) {
		if err := l.Wait(ctx); ctx.Err() == nil {
			tell(err)
		}
	})
}

// meanwhile runs f until it is stopped.
func meanwhile(ctx context.Context, f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// heedless goes on telling after it was stopped.
type heedless struct{ telling }

func (b heedless) TellLeaders(ctx context.Context, key string, tell func(backend.Leader, error)) (stop func()) {
	halt := b.telling.TellLeaders(ctx, key, tell)
	return func() {
		halt()
		tell(backend.Leader{}, nil)
	}
}

// brokenTellers are backends with one fault each in what they tell.
func brokenTellers() []subject {
	return []subject{
		{
			name:   "what is told goes on after a stop",
			caught: []string{"told by itself: nothing is told after a stop"},
			wrap:   func(b *memory.Backend) backend.Backend { return heedless{telling{b}} },
		},
		{
			name:   "tellers that do not tell, though the harness says so",
			caught: []string{"told by itself: Wait waits while the term lasts"},
			wrap:   func(b *memory.Backend) backend.Backend { return tellsLeadersOnly{telling{b}} },
		},
	}
}

// tellsLeadersOnly has leases that must be asked.
type tellsLeadersOnly struct{ telling }

func (b tellsLeadersOnly) Campaign(ctx context.Context, key string, value []byte) (backend.Lease, error) {
	return b.Backend.Campaign(ctx, key, value)
}
