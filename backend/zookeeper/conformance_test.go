package zookeeper_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/backendtest"
	"github.com/hustings-go/hustings/backend/zookeeper"
	"github.com/hustings-go/hustings/internal/servers"
)

func TestConformance(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	var packets atomic.Int64
	var taps sync.Map // of each Backend
	backendtest.Run(t, backendtest.Harness{
		MinTTL:    shortTTL,
		MaxValue:  zookeeper.MaxValueLen,
		Calls:     packets.Load,
		IdleCalls: 5, // three pings each, and five proofs of who is next, of three sessions
		Parallel:  true,
		Features:  backendtest.Features{FIFO: true, Expiry: true, WaitTellsLoss: true, Tells: true},
		Open: func(t testing.TB, ttl time.Duration) backend.Backend {
			tap := &wiretap{packets: &packets}
			b, err := zookeeper.New([]string{server.Endpoint()}, zookeeper.WithTTL(ttl), zookeeper.WithTick(servers.ZooKeeperTick), zookeeper.WithDialer(tap.dial))
			if err != nil {
				t.Fatal(err)
			}
			taps.Store(b, tap)
			return b
		},
		Depose: func(t testing.TB, key string) {
			paths, err := candidates(t.Context(), operator, zookeeper.DefaultRoot, key)
			if err != nil || len(paths) == 0 {
				t.Fatalf("the leader of %s: %v, error %v", key, paths, err)
			}
			if err := operator.Delete(paths[0], -1); err != nil {
				t.Fatal(err)
			}
		},
		Kill: func(t testing.TB, b backend.Backend) {
			tap, _ := taps.Load(b)
			tap.(*wiretap).kill()
		},
	})
}
