package backendtest_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/memory"
)

// broken are backends with one fault each, and the cases that must catch it.
func broken() []subject {
	return slices.Concat(brokenSessions(), brokenLeases(), brokenViews(), brokenTellers())
}

// alone gives a session a store of its own.
func alone(b *memory.Backend) backend.Backend {
	own, err := memory.New(memory.WithTTL(b.TTL()))
	if err != nil {
		return nil
	}
	return own
}

// halved opens sessions that ask the store for half of the TTL that they tell.
func halved(store func() *memory.Backend) func(t testing.TB, ttl time.Duration) backend.Backend {
	return func(t testing.TB, ttl time.Duration) backend.Backend {
		b, err := store().Peer(memory.WithTTL(ttl / 2))
		if err != nil {
			t.Fatal(err)
		}
		return boastful{b}
	}
}

type boastful struct {
	*memory.Backend
}

func (b boastful) TTL() time.Duration { return 2 * b.Backend.TTL() }

func (b boastful) Campaign(ctx context.Context, key string, value []byte) (backend.Lease, error) {
	l, err := b.Backend.Campaign(ctx, key, value)
	if err != nil {
		return nil, err
	}
	return &bentLease{Lease: l, renew: func(ctx context.Context) (backend.Grant, error) {
		g, err := l.Renew(ctx)
		g.TTL *= 2
		return g, err
	}}, nil
}

// closesAll opens sessions that are really one.
func closesAll(store func() *memory.Backend) func(t testing.TB, ttl time.Duration) backend.Backend {
	return func(testing.TB, time.Duration) backend.Backend {
		shared := store()
		return &bent{Backend: shared, close: shared.Close}
	}
}
