package etcd_test

import (
	"context"
	"fmt"
	"path"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/internal/faults"
	"github.com/hustings-go/hustings/internal/servers"
)

// openProcess opens the one session of a candidate's process.
func openProcess(ctx context.Context, addr string, ttl time.Duration) (backend.Backend, func(), error) {
	client, err := clientv3.New(clientv3.Config{Context: ctx, Endpoints: []string{addr}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return nil, nil, err
	}
	b, err := etcd.New(client, etcd.WithTTL(ttl))
	if err != nil {
		return nil, nil, err
	}
	return b, func() { _ = client.Close() }, nil
}

// TestFaults plays every failure with candidates in processes of their own.
func TestFaults(t *testing.T) {
	const ttl = 4 * time.Second // of less, candidates lose terms to each other's load
	faults.Run(t, faults.Harness{
		TTL:    ttl,
		Expiry: ttl + time.Second, // the lessor looks every 500 ms
		Start:  func(t testing.TB) faults.Server { return servers.StartEtcd(t) },
		Records: func(t testing.TB, s faults.Server, key string) []string {
			t.Helper()
			resp, err := admin(t, s).Get(t.Context(), key+"/", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
			if err != nil {
				t.Logf("records: %v", err)
				return nil
			}
			var keys []string
			for _, kv := range resp.Kvs {
				keys = append(keys, string(kv.Key))
			}
			return keys
		},
		Delete: func(t testing.TB, s faults.Server, record string) {
			t.Helper()
			if _, err := admin(t, s).Delete(t.Context(), record); err != nil {
				t.Fatal(err)
			}
		},
		Revoke: func(t testing.TB, s faults.Server, record string) {
			t.Helper()
			var id int64
			if _, err := fmt.Sscanf(path.Base(record), "%x", &id); err != nil {
				t.Fatal(err)
			}
			if _, err := admin(t, s).Revoke(t.Context(), clientv3.LeaseID(id)); err != nil {
				t.Fatal(err)
			}
		},
	})
}

// admin is an operator's client.
func admin(t testing.TB, s faults.Server) *clientv3.Client {
	t.Helper()
	return connect(t, []string{s.Endpoint()})
}
