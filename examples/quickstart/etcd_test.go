//go:build unix

package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/hustings-go/hustings/internal/servers"
)

// TestTimelineOnEtcd plays it on a real etcd.
func TestTimelineOnEtcd(t *testing.T) {
	open, err := etcdStore(t.Context(), servers.StartEtcd(t).Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	start := time.Now()
	if err := run(t.Context(), &out, open); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	checkTimeline(t, out.String(), time.Since(start))
}
