//go:build unix

package consulurl_test

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/backend/backendurl"
	"github.com/hustings-go/hustings/backend/consul/consulurl"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOpen(t *testing.T) {
	c := servers.StartConsul(t, servers.ConsulACLs())
	store, err := backendurl.Open(t.Context(), "consul://:"+c.Token()+"@"+c.Endpoint()+"?tls=off&ttl=10s&lock-delay=0s&max-queries=8&name=me", consulurl.Opener())
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
	if f := store.Inspect(t.Context()); len(f) != 1 || !strings.Contains(f[0].Text, "is Consul 1.") || f[0].Problem != "" {
		t.Errorf("found %+v", f)
	}
	for _, raw := range []string{
		"consul://ada:s3cr3t@h", "consul://h1,h2", "consul://h/path", "consul://h?ttl=1s", "consul://h?lock-delay=1", "consul://h?max-queries=0", "consul://h?max-queries=x", "consul://h?cacert=/no/such",
	} {
		if _, err := backendurl.Open(t.Context(), raw, consulurl.Opener()); !retry.IsPermanent(err) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
