//go:build unix

package etcdurl_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/backend/backendurl"
	"github.com/hustings-go/hustings/backend/etcd/etcdurl"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestOpen campaigns with a login, and is told what is wrong with others.
func TestOpen(t *testing.T) {
	e := servers.StartEtcd(t)
	open := func(raw string) (*backendurl.Store, error) {
		return backendurl.Open(t.Context(), raw, etcdurl.Opener())
	}
	vote := func(raw string) {
		t.Helper()
		store, err := open(raw)
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
		findings := store.Inspect(t.Context())
		if len(findings) != 1 || !strings.Contains(findings[0].Text, "is etcd 3.") || findings[0].Problem != "" {
			t.Errorf("found %+v", findings)
		}
	}
	vote("etcd://" + e.Endpoint() + "?ttl=5s")
	e.EnableAuth("s3cr3t")
	vote("etcd://root:s3cr3t@" + e.Endpoint() + "?tls=off&name=me")
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("s3cr3t\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	vote("etcd://root@" + e.Endpoint() + "?tls=off&password-file=" + file)

	for raw, want := range map[string]struct {
		text      string
		permanent bool
	}{
		"etcd://root:wr0ng@" + e.Endpoint() + "?tls=off": {"authentication failed", true},
		"etcd://root@" + e.Endpoint() + "?tls=off":       {"one of them is missing", true},
		"etcd://:wr0ng@" + e.Endpoint() + "?tls=off":     {"one of them is missing", true},
		"etcd://root:wr0ng@" + e.Endpoint():              {"no server answered", false}, // which has no TLS
		"etcd://" + e.Endpoint() + "?ttl=1500ms":         {"whole seconds", true},
		"etcd://" + e.Endpoint() + "?cacert=/no/such":    {"/no/such", true},
	} {
		_, err := open(raw)
		if err == nil || !strings.Contains(err.Error(), want.text) || retry.IsPermanent(err) != want.permanent || strings.Contains(err.Error(), "wr0ng") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
