package backendtest_test

import (
	"context"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/memory"
	"github.com/hustings-go/hustings/internal/trial"
)

// telling is a session that tells by itself.
type telling struct{ trial.Telling }

// Cut is what the harness kills sessions with.
func (b telling) Cut() { b.Backend.(interface{ Cut() }).Cut() }

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
			wrap:   func(b *memory.Backend) backend.Backend { return heedless{telling{trial.Telling{Backend: b}}} },
		},
		{
			name:   "tellers that do not tell, though the harness says so",
			caught: []string{"told by itself: Wait waits while the term lasts"},
			wrap:   func(b *memory.Backend) backend.Backend { return tellsLeadersOnly{telling{trial.Telling{Backend: b}}} },
		},
	}
}

// tellsLeadersOnly has leases that must be asked.
type tellsLeadersOnly struct{ telling }

func (b tellsLeadersOnly) Campaign(ctx context.Context, key string, value []byte) (backend.Lease, error) {
	return b.Backend.Campaign(ctx, key, value)
}
