package consul_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/backendtest"
	"github.com/hustings-go/hustings/backend/consul"
	"github.com/hustings-go/hustings/internal/servers"
)

func TestConformance(t *testing.T) {
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	var wires sync.Map // of each Backend
	var calls atomic.Int64
	backendtest.Run(t, backendtest.Harness{
		MinTTL:    consul.MinTTL,
		MaxValue:  consul.MaxValueLen,
		Calls:     calls.Load,
		IdleCalls: 4, // three renewals and one blocking query
		Parallel:  true,
		Features:  backendtest.Features{Expiry: true, WaitTellsLoss: true, Tells: true},
		Open: func(t testing.TB, ttl time.Duration) backend.Backend {
			w := newWire()
			w.count = &calls
			b, err := consul.New(connectBy(t, w, server.Endpoint()), consul.WithTTL(ttl))
			if err != nil {
				t.Fatal(err)
			}
			wires.Store(b, w)
			return b
		},
		Depose: func(t testing.TB, key string) { remove(t, operator, key) },
		Kill: func(_ testing.TB, b backend.Backend) {
			w, _ := wires.Load(b)
			w.(*wire).die()
		},
	})
}
