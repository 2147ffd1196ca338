package memory_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/backendtest"
	"github.com/hustings-go/hustings/backend/memory"
)

// harness works with the store of whatever session store returns.
func harness(store func() *memory.Backend) backendtest.Harness {
	return backendtest.Harness{
		Open: func(t testing.TB, ttl time.Duration) backend.Backend {
			t.Helper()
			b, err := store().Peer(memory.WithTTL(ttl))
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
		MinTTL:   time.Second,
		TTL:      10 * time.Second,
		MaxValue: memory.MaxValueLen,
		Calls:    func() int64 { return store().Calls() },
		Depose: func(t testing.TB, key string) {
			t.Helper()
			if !store().Depose(key) {
				t.Fatalf("nobody leads %q", key)
			}
		},
		Kill:     func(_ testing.TB, b backend.Backend) { b.(*memory.Backend).Cut() },
		Features: backendtest.Features{FIFO: true, Expiry: true, WaitTellsLoss: true},
	}
}

func TestConformanceInVirtualTime(t *testing.T) {
	var store *memory.Backend // of the case that runs: a store stays in its bubble
	h := harness(func() *memory.Backend { return store })
	h.Around = func(t *testing.T, run func(t *testing.T)) {
		synctest.Test(t, func(t *testing.T) {
			store = open(t)
			run(t)
		})
	}
	backendtest.Run(t, h)
}

func TestConformanceOnTheRealClock(t *testing.T) {
	store := open(t)
	h := harness(func() *memory.Backend { return store })
	h.Parallel = true
	backendtest.Run(t, h)
	t.Cleanup(func() { // after all that runs in parallel
		if n := memory.Keys(store); n != 0 {
			t.Errorf("the store still knows %d keys", n)
		}
	})
}
