//go:build unix

package redisurl_test

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/backend/backendurl"
	"github.com/hustings-go/hustings/backend/rediskv/redisurl"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
	"github.com/hustings-go/hustings/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(trial.Outlast{M: m}) }

func TestOpen(t *testing.T) {
	r := servers.StartRedis(t, servers.RedisPassword("s3cr3t"))
	store, err := backendurl.Open(t.Context(), "redis://:s3cr3t@"+r.Endpoint()+"/1?tls=off&ttl=2s&name=me", redisurl.Opener())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	lease, err := store.Campaign(t.Context(), "key", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := lease.Resign(t.Context()); err != nil {
		t.Error(err)
	}
	if f := store.Inspect(t.Context()); len(f) != 2 || !strings.Contains(f[0].Text, "is Redis ") || f[0].Problem != "" {
		t.Errorf("found %+v", f)
	}
	for _, raw := range []string{
		"redis://:s3cr3t@h/x", "redis://h/-1", "redis://h1,h2", "redis://h?cluster=yes", "redis://h/1?cluster=true",
		"redis://h?cluster=true&sentinel=x", "redis://h?ttl=1ms", "redis://h?cacert=/no/such",
	} {
		if _, err := backendurl.Open(t.Context(), raw, redisurl.Opener()); !retry.IsPermanent(err) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
