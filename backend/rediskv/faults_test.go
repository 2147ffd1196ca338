package rediskv_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/rediskv"
	"github.com/hustings-go/hustings/internal/faults"
	"github.com/hustings-go/hustings/internal/servers"
)

// openProcess opens the one session of a candidate's process. Its connections bear the name that its
// record has, so that the test can tell who waits.
func openProcess(_ context.Context, addr string, ttl time.Duration) (backend.Backend, func(), error) {
	name := fmt.Sprintf("process-%d", os.Getpid())
	client := redis.NewClient(rediskv.Options(&redis.Options{Addr: addr, ClientName: name}))
	b, err := rediskv.New(client, rediskv.WithTTL(ttl), rediskv.WithName(name))
	if err != nil {
		return nil, nil, err
	}
	return b, func() { _ = client.Close() }, nil
}

// TestFaults plays every failure with candidates in processes of their own.
func TestFaults(t *testing.T) {
	const ttl = 3 * time.Second
	faults.Run(t, faults.Harness{
		TTL:       ttl,
		Expiry:    ttl + 100*time.Millisecond,
		Unordered: true,
		Start:     func(t testing.TB) faults.Server { return servers.StartRedis(t) },
		Records:   records,
		// An operator who deletes the record tells nobody: the leader finds out when it renews.
		Delete: func(t testing.TB, s faults.Server, record string) { remove(t, s, record, false) },
		Revoke: func(t testing.TB, s faults.Server, record string) { remove(t, s, record, true) },
	})
}

// records lists the lease, if there is one, and then who listens and does not hold it: a candidate that waits
// has nothing else in the store.
func records(t testing.TB, s faults.Server, key string) []string {
	t.Helper()
	client := connect(t, s.Endpoint())
	defer client.Close()
	holder, err := client.HGet(t.Context(), "{"+key+"}:lease", "holder").Result()
	if err != nil && err != redis.Nil { //nolint:errorlint // never wrapped
		t.Logf("records: %v", err)
		return nil
	}
	var found []string
	if holder != "" {
		found = append(found, "lease {"+key+"}:lease")
	}
	list, err := client.Do(t.Context(), "client", "list", "type", "pubsub").Text()
	if err != nil {
		t.Logf("records: %v", err)
		return nil
	}
	leader, _, _ := strings.Cut(holder, "/")
	for line := range strings.Lines(list) {
		fields := map[string]string{}
		for field := range strings.FieldsSeq(line) {
			k, v, _ := strings.Cut(field, "=")
			fields[k] = v
		}
		if fields["name"] != leader && fields["sub"] != "0" {
			found = append(found, "connection "+fields["id"])
		}
	}
	return found
}

// remove takes a record away; or with it the connections of whom it belongs to.
func remove(t testing.TB, s faults.Server, record string, tell bool) {
	t.Helper()
	client := connect(t, s.Endpoint())
	kind, name, _ := strings.Cut(record, " ")
	switch {
	case kind == "connection":
		if err := client.Do(t.Context(), "client", "kill", "id", name).Err(); err != nil {
			t.Fatal(err)
		}
	case tell:
		depose(t, client, strings.TrimSuffix(strings.TrimPrefix(name, "{"), "}:lease"))
	default:
		if n, err := client.Del(t.Context(), name).Result(); err != nil || n != 1 {
			t.Fatalf("deleting %s: %d, error %v", name, n, err)
		}
	}
}
