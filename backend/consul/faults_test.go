package consul_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/consul"
	"github.com/hustings-go/hustings/internal/faults"
	"github.com/hustings-go/hustings/internal/servers"
)

// openProcess opens the one session of a candidate's process.
func openProcess(_ context.Context, addr string, ttl time.Duration) (backend.Backend, func(), error) {
	transport := &http.Transport{}
	client, err := api.NewClient(&api.Config{Address: addr, HttpClient: &http.Client{Transport: transport}})
	if err != nil {
		return nil, nil, err
	}
	b, err := consul.New(client, consul.WithTTL(ttl))
	if err != nil {
		return nil, nil, err
	}
	return b, transport.CloseIdleConnections, nil
}

// TestFaults plays every failure with candidates in processes of their own. A candidate's record is its
// session, as one that waits has no other.
func TestFaults(t *testing.T) {
	faults.Run(t, faults.Harness{
		TTL:    short,
		Expiry: 21 * short / 10, // two TTLs, and the lock-delay

		Unordered: true,
		Start:     func(t testing.TB) faults.Server { return servers.StartConsul(t) },
		Records: func(t testing.TB, s faults.Server, key string) []string {
			t.Helper()
			client := connect(t, s.Endpoint())
			leader, _, err := client.KV().Get(key, nil)
			if err != nil {
				t.Logf("records: %v", err)
				return nil
			}
			all, _, err := client.Session().List(nil)
			if err != nil {
				t.Logf("records: %v", err)
				return nil
			}
			var ids []string
			for _, s := range all {
				ids = append(ids, s.ID)
			}
			slices.Sort(ids)
			if leader != nil {
				ids = slices.DeleteFunc(ids, func(id string) bool { return id == leader.Session })
				ids = slices.Insert(ids, 0, leader.Session)
			}
			return ids
		},
		Delete: func(t testing.TB, s faults.Server, record string) {
			t.Helper()
			client := connect(t, s.Endpoint())
			all, _, err := client.KV().List("", nil)
			if err != nil {
				t.Fatal(err)
			}
			held := false
			for _, pair := range all {
				if pair.Session == record && pair.Flags == api.LockFlagValue {
					remove(t, client, pair.Key)
					held = true
				}
			}
			if !held { // it waits, and has nothing to be deleted but its session
				destroy(t, client, record)
			}
		},
		Revoke: func(t testing.TB, s faults.Server, record string) {
			t.Helper()
			destroy(t, connect(t, s.Endpoint()), record)
		},
	})
}
