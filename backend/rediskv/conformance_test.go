package rediskv_test

import (
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/backendtest"
	"github.com/hustings-go/hustings/backend/rediskv"
	"github.com/hustings-go/hustings/internal/servers"
)

func TestConformance(t *testing.T) {
	server := servers.StartRedis(t)
	conform(t, connect(t, server.Endpoint()), func(t testing.TB, c *counter) redis.UniversalClient {
		return connect(t, server.Endpoint(), c.count)
	})
}

// The same through a cluster's client, which finds the server of each key by its slot.
func TestConformanceOfCluster(t *testing.T) {
	server := servers.StartRedisCluster(t)
	conform(t, connect(t, server.Endpoint()), func(t testing.TB, c *counter) redis.UniversalClient {
		o := rediskv.ClusterOptions(&redis.ClusterOptions{Addrs: []string{server.Endpoint()}})
		var dialing redis.Options
		c.count(&dialing)
		o.Dialer = dialing.Dialer
		client := redis.NewClusterClient(o)
		t.Cleanup(func() { _ = client.Close() })
		return client
	})
}

func conform(t *testing.T, operator redis.UniversalClient, dial func(testing.TB, *counter) redis.UniversalClient) {
	var calls counter
	var clients sync.Map // of each Backend
	backendtest.Run(t, backendtest.Harness{
		MinTTL:    2 * time.Second, // shorter ones are granted, but not met by a machine that stands still for a moment
		MaxValue:  rediskv.MaxValueLen,
		Calls:     calls.sent.Load,
		IdleCalls: 2, // a look at the key, and a ping where nothing was heard
		Parallel:  true,
		Features:  backendtest.Features{Expiry: true, WaitTellsLoss: true, Tells: true},
		Open: func(t testing.TB, ttl time.Duration) backend.Backend {
			client := dial(t, &calls)
			b, err := rediskv.New(client, rediskv.WithTTL(ttl))
			if err != nil {
				t.Fatal(err)
			}
			clients.Store(b, client)
			return b
		},
		Depose: func(t testing.TB, key string) { depose(t, operator, key) },
		Kill: func(t testing.TB, b backend.Backend) {
			client, _ := clients.Load(b)
			if err := client.(redis.UniversalClient).Close(); err != nil {
				t.Fatal(err)
			}
		},
	})
}
