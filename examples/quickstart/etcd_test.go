//go:build unix

package main

import (
	"bytes"
	"testing"

	"github.com/hustings-go/hustings/internal/servers"
)

// TestTimelineOnEtcd plays it on a real etcd.
func TestTimelineOnEtcd(t *testing.T) {
	open, err := etcdStore(t.Context(), servers.StartEtcd(t).Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(t.Context(), &out, open); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	checkTimeline(t, out.String())
	if n := terms(out.String()); n < 4 { // more only where the machine is too slow for such a short TTL
		t.Errorf("%d terms, want 4\n%s", n, &out)
	}
}
