//go:build unix

package zookeeperurl_test

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/backend/backendurl"
	"github.com/hustings-go/hustings/backend/zookeeper/zookeeperurl"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOpen(t *testing.T) {
	z := servers.StartZooKeeper(t)
	store, err := backendurl.Open(t.Context(), "zookeeper://ada:s3cr3t@"+z.Endpoint()+"/some/root?tls=off&ttl=8s&tick=2s&acl=creator&name=me", zookeeperurl.Opener())
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
	if f := store.Inspect(t.Context()); len(f) != 1 || !strings.Contains(f[0].Text, "is ZooKeeper 3.") || f[0].Problem != "" {
		t.Errorf("found %+v", f)
	}
	for _, raw := range []string{
		"zookeeper://ada@h", "zookeeper://:s3cr3t@h", "zookeeper://h?tick=2", "zookeeper://h?acl=none", "zookeeper://h?acl=creator",
		"zookeeper://h?ttl=1s", "zookeeper://h?cacert=/no/such", "zookeeper://h/a//b",
	} {
		if _, err := backendurl.Open(t.Context(), raw, zookeeperurl.Opener()); !retry.IsPermanent(err) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
