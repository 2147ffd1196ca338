package backendtest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/backendtest"
	"github.com/hustings-go/hustings/backend/memory"
	"github.com/hustings-go/hustings/internal/trial"
)

// subject is a backend to run the suite on.
type subject struct {
	name      string
	caught    []string                                           // the cases that must fail
	complaint string                                             // what the suite must say of the harness
	wrap      func(*memory.Backend) backend.Backend              // makes a session, from a sound one
	change    func(*backendtest.Harness, func() *memory.Backend) // of the harness, which is memory's
}

// harness is memory's, in virtual time.
func (s subject) harness() backendtest.Harness {
	var store *memory.Backend
	h := backendtest.Harness{
		Around: func(t *testing.T, run func(t *testing.T)) {
			synctest.Test(t, func(t *testing.T) {
				var err error
				if store, err = memory.New(); err != nil {
					t.Fatal(err)
				}
				run(t)
			})
		},
		Open: func(t testing.TB, ttl time.Duration) backend.Backend {
			b, err := store.Peer(memory.WithTTL(ttl))
			if err != nil {
				t.Fatal(err)
			}
			if s.wrap == nil {
				return telling{trial.Telling{Backend: b}}
			}
			wrapped := s.wrap(b)
			if _, tells := wrapped.(backend.LeaderTeller); tells {
				return wrapped
			}
			return telling{trial.Telling{Backend: wrapped}}
		},
		MinTTL:   2 * time.Second,
		MaxValue: memory.MaxValueLen,
		Calls:    func() int64 { return store.Calls() },
		Depose:   func(_ testing.TB, key string) { store.Depose(key) },
		Kill:     func(_ testing.TB, b backend.Backend) { b.(interface{ Cut() }).Cut() },
		Features: backendtest.Features{FIFO: true, Expiry: true, WaitTellsLoss: true, Tells: true},
	}
	if s.change != nil {
		s.change(&h, func() *memory.Backend { return store })
	}
	return h
}

// honest are backends that pass.
func honest() []subject {
	return []subject{
		{name: "sound"},
		{name: "sound and slow", wrap: func(b *memory.Backend) backend.Backend { return &distant{Backend: b} }},
	}
}

// minimal passes too, but declares that it can do nothing that is optional.
func minimal() subject {
	return subject{name: "minimal", change: func(h *backendtest.Harness, _ func() *memory.Backend) {
		*h = backendtest.Harness{Open: h.Open, MinTTL: h.MinTTL, Around: h.Around}
	}}
}

// misused are harnesses that are refused.
func misused() []subject {
	return []subject{
		{
			name: "no Open", complaint: "Harness.Open is nil",
			change: func(h *backendtest.Harness, _ func() *memory.Backend) { h.Open = nil },
		},
		{
			name: "no MinTTL", complaint: "Harness.MinTTL is 0s",
			change: func(h *backendtest.Harness, _ func() *memory.Backend) { h.MinTTL = 0 },
		},
		{
			name: "TTL near MinTTL", complaint: "Harness.TTL is 5s, must be at least three times MinTTL, which is 2s",
			change: func(h *backendtest.Harness, _ func() *memory.Backend) { h.TTL = 5 * time.Second },
		},
	}
}
