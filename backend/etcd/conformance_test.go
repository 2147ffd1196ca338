package etcd_test

import (
	"context"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/backendtest"
	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

func TestConformance(t *testing.T) {
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	var calls counter
	var clients sync.Map // of each Backend
	backendtest.Run(t, backendtest.Harness{
		MinTTL:    2 * time.Second, // what etcd grants at least, with its default timings
		MaxValue:  etcd.MaxValueLen,
		Calls:     calls.all.Load,
		IdleCalls: 4, // three keep-alives and one look at the queue
		Parallel:  true,
		Features:  backendtest.Features{FIFO: true, Expiry: true, WaitTellsLoss: true, Tells: true},
		Open: func(t testing.TB, ttl time.Duration) backend.Backend {
			client := connect(t, []string{server.Endpoint()}, calls.count)
			b, err := etcd.New(client, etcd.WithTTL(ttl))
			if err != nil {
				t.Fatal(err)
			}
			clients.Store(b, client)
			return b
		},
		Depose: func(t testing.TB, key string) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), trial.Patience)
			defer cancel()
			resp, err := operator.Get(ctx, key+"/", clientv3.WithFirstCreate()...)
			if err != nil || len(resp.Kvs) == 0 {
				t.Fatalf("the leader of %s: %v, error %v", key, resp, err)
			}
			if _, err := operator.Delete(ctx, string(resp.Kvs[0].Key)); err != nil {
				t.Fatal(err)
			}
		},
		Kill: func(t testing.TB, b backend.Backend) {
			client, _ := clients.Load(b)
			if err := client.(*clientv3.Client).Close(); err != nil {
				t.Fatal(err)
			}
		},
	})
}
