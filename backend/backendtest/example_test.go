package backendtest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/backendtest"
	"github.com/hustings-go/hustings/backend/memory"
)

// A backend's own test is a harness: how to open another session with the store, how to do harm to it, and
// what it can do. This is package memory's, in virtual time.
func ExampleRun() {
	// func TestConformance(t *testing.T)
	_ = func(t *testing.T) {
		var store *memory.Backend
		backendtest.Run(t, backendtest.Harness{
			MinTTL:   time.Millisecond,
			MaxValue: memory.MaxValueLen,
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
				return b
			},
			Depose:   func(_ testing.TB, key string) { store.Depose(key) },
			Calls:    func() int64 { return store.Calls() },
			Features: backendtest.Features{FIFO: true, Expiry: true, WaitTellsLoss: true},
		})
	}
}
