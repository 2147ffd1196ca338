//go:build unix

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hustings-go/hustings/internal/servers"
)

// roleChild is a candidate in a process of its own, which can be killed and stopped.
const roleChild = "bench-child"

const envErrand = "HUSTINGS_BENCH_ERRAND"

// errand is what a child is to do. It leads until it is killed.
type errand struct {
	Store, System, Key string
	Place              place
	// Limit is how long a child that was stopped goes on writing at most, once it goes on.
	Limit time.Duration
}

// startChild starts a child and waits until it leads.
func startChild(t testing.TB, s system, p place, key string, limit time.Duration) *servers.Self {
	t.Helper()
	text, err := json.Marshal(errand{Store: s.store, System: s.name, Key: key, Place: p, Limit: limit})
	if err != nil {
		t.Fatal(err)
	}
	self := servers.StartSelf(t, roleChild, envErrand+"="+string(text))
	self.Await("leading")
	return self
}

// child does its errand, and returns the process's exit code.
func child() int {
	var e errand
	if err := json.Unmarshal([]byte(os.Getenv(envErrand)), &e); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, s := range systems() {
		if s.store != e.Store || s.name != e.System {
			continue
		}
		session, err := s.open(e.Place)
		if err == nil {
			err = session.stand(context.Background(), e.Key, func(r reign) {
				fmt.Println("leading")
				work(r, e.Place.TTL, e.Limit)
			})
		}
		fmt.Fprintln(os.Stderr, "left:", err)
		return 1
	}
	fmt.Fprintf(os.Stderr, "there is no %s on %s\n", e.System, e.Store)
	return 1
}

// work asks whether it leads, over and over, as one does before each write, until it was stopped for long. From then on it
// writes when it may, as fast as it can, and tells how often and how long it was allowed to. What was allowed before the
// stop and is done after it does not count: no check can help there, only the token.
func work(r reign, ttl, limit time.Duration) {
	if limit == 0 {
		select {} // it is there to be killed
	}
	for last := time.Now(); ; {
		before := time.Now()
		if before.Sub(last) > ttl {
			stale, writes := writeOn(r, before, limit)
			fmt.Printf("woke %d %d\n", stale, writes)
			select {} // until it is killed
		}
		last = before
		_ = r.leads()
	}
}

func writeOn(r reign, woke time.Time, limit time.Duration) (stale time.Duration, writes int64) {
	for r.leads() {
		writes++
		if stale = time.Since(woke); stale > limit {
			break
		}
	}
	return stale, writes
}

// pause stops a child for a while that is longer than its TTL, lets it go on, and returns what it did then.
func pause(t testing.TB, self *servers.Self, long time.Duration) (stale time.Duration, writes int64) {
	t.Helper()
	self.Pause()
	<-time.After(long)
	self.Resume()
	line := self.Await("woke")
	if n, err := fmt.Sscanf(strings.TrimPrefix(line, "woke"), "%d %d", &stale, &writes); n != 2 || err != nil {
		t.Fatalf("the child says %q: %v", line, err)
	}
	return stale, writes
}
