package memory_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/backendtest"
	"github.com/hustings-go/hustings/backend/memory"
)

// harness runs the suite on a store of its own for each case, which is made inside around.
func harness(around func(t *testing.T, run func(t *testing.T))) backendtest.Harness {
	var store *memory.Backend
	return backendtest.Harness{
		Around: func(t *testing.T, run func(t *testing.T)) {
			around(t, func(t *testing.T) {
				store = open(t)
				run(t)
			})
		},
		Open: func(t testing.TB, ttl time.Duration) backend.Backend {
			b, err := store.Peer(memory.WithTTL(ttl))
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
		MinTTL:   time.Second,
		TTL:      5 * time.Second,
		MaxValue: memory.MaxValueLen,
		Calls:    func() int64 { return store.Calls() },
		Depose: func(t testing.TB, key string) {
			t.Helper()
			if !store.Depose(key) {
				t.Fatalf("nobody leads %q", key)
			}
		},
		Kill:     func(_ testing.TB, b backend.Backend) { b.(*memory.Backend).Cut() },
		Features: backendtest.Features{FIFO: true, Expiry: true, WaitTellsLoss: true},
	}
}

func TestConformance(t *testing.T) {
	t.Run("in virtual time", func(t *testing.T) {
		backendtest.Run(t, harness(synctest.Test))
	})
	t.Run("on the real clock", func(t *testing.T) {
		backendtest.Run(t, harness(func(t *testing.T, run func(t *testing.T)) { run(t) }))
	})
}
