//go:build unix

package soak

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/election"
	"github.com/hustings-go/hustings/internal/trial"
	"github.com/hustings-go/hustings/torture/stores"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(trial.Outlast{M: m}) }

const (
	keys     = 4
	sessions = 3 // each with a candidate for every key
)

// termTime is how long leaders lead at most, so that they change every few seconds whatever the TTL.
const termTime = 2 * time.Second

// judged is how long a run must be for its slopes to be judged. In a shorter one, what a few sessions that were lost
// leave until the last who stood on them stands anew looks like a slope (3 MB of buffers on ZooKeeper), and so do
// candidates who happen to wait at its end. What a short run leaves behind for good is for TestMain to find.
const judged = 2 * time.Minute

// tally counts what happened. It must have been much.
type tally struct{ terms, left, resigned, revoked, errors atomic.Int64 }

// void tells what there was too little of in a run of that length, or nothing.
func (s *tally) void(length time.Duration) string {
	switch least := int64(length / termTime); {
	case s.terms.Load() < least:
		return fmt.Sprintf("%d terms, want at least %d", s.terms.Load(), least)
	case s.left.Load() == 0 || s.resigned.Load() == 0 || s.revoked.Load() == 0:
		return "nobody left, nobody resigned, or no session was revoked"
	}
	return ""
}

// TestSoak runs elections in which candidates resign, leave and stand again, and lose their sessions to an operator,
// and follows what the process holds. The first fifth is not counted: pools and caches fill up.
func TestSoak(t *testing.T) {
	asked, err := stores.Asked(env("STORE", ""))
	if err != nil {
		t.Fatal(err)
	}
	minutes, err := strconv.ParseFloat(env("MINUTES", "0.2"), 64)
	if err != nil {
		t.Fatalf("MINUTES: %v", err)
	}
	for _, store := range asked {
		t.Run(store.Name, func(t *testing.T) { soak(t, store, time.Duration(minutes*float64(time.Minute))) })
	}
}

func soak(t *testing.T, store stores.Store, length time.Duration) {
	cluster := store.Start(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var (
		sum        tally
		candidates sync.WaitGroup
	)
	for range sessions {
		b := open(t, store, cluster)
		for k := range keys {
			candidates.Go(func() { stand(ctx, b, store.TTL, name(k), &sum) })
		}
	}
	samples := watch(t, cluster, length, &sum)
	for turn := 0; length < judged && sum.void(length) != "" && turn < 5; turn++ { // where the machine is slow
		samples = append(samples, watch(t, cluster, length, &sum)...)
	}
	cancel()
	candidates.Wait()

	if length >= judged && len(samples) < fewest {
		t.Fatalf("void: %d samples, want at least %d", len(samples), fewest)
	}
	t.Logf("heap after collection in each fifth of the run, bytes: %.0f", fifths(samples))
	samples = samples[len(samples)/5:]
	t.Logf("%v with %d candidates of %d elections: %d terms, %d candidates left and came back, %d resigned, %d sessions revoked, %d errors",
		length, keys*sessions, keys, sum.terms.Load(), sum.left.Load(), sum.resigned.Load(), sum.revoked.Load(), sum.errors.Load())
	for _, c := range []struct {
		name    string
		allowed float64 // rise over the whole run, whatever its length
		of      func(sample) float64
	}{
		{"heap after collection, bytes", 1 << 20, func(s sample) float64 { return s.heap }},
		{"goroutines", 5, func(s sample) float64 { return s.goroutines }},
		{"file descriptors", 2, func(s sample) float64 { return s.fds }},
	} {
		trend := trendOf(samples, c.of)
		t.Logf("%s: %v (%d samples)", c.name, trend, len(samples))
		if length >= judged && trend.grows(c.allowed) {
			t.Errorf("%s grow: %v, allowed %v", c.name, trend, c.allowed)
		}
	}
	if void := sum.void(length); void != "" {
		t.Errorf("void: %s", void)
	}
}

func env(name, otherwise string) string {
	if v := os.Getenv("HUSTINGS_TORTURE_" + name); v != "" {
		return v
	}
	return otherwise
}

func name(k int) string { return fmt.Sprintf("soak/%d", k) }

func open(t *testing.T, store stores.Store, cluster stores.Cluster) backend.Backend {
	t.Helper()
	b, done, err := store.Open(context.WithoutCancel(t.Context()), stores.Straight(cluster.Known(0, 1)), store.TTL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.Close()
		done()
	})
	return b
}

// stand stands for key until ctx ends: in an Election of its own each time, or in the same one after a resignation.
func stand(ctx context.Context, b backend.Backend, ttl time.Duration, key string, sum *tally) {
	for ctx.Err() == nil {
		e, err := election.New(b, key, "soak", election.WithResignPause(ttl/10), election.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			sum.errors.Add(1)
			return
		}
		for ev := range e.Events(ctx) {
			if ev.State == election.StateErrored {
				sum.errors.Add(1)
			}
			if ev.State != election.StateLeader {
				continue
			}
			sum.terms.Add(1)
			rest(ev.Context(), 100*time.Millisecond+rand.N(termTime))
			if rand.IntN(2) == 0 {
				sum.left.Add(1)
				break
			}
			sum.resigned.Add(1)
			e.Resign()
		}
	}
}

// watch takes samples for as long as the run lasts, and now and then revokes a session.
func watch(t *testing.T, cluster stores.Cluster, length time.Duration, sum *tally) (samples []sample) {
	t.Helper()
	const number = 240                    // at most; each costs two collections
	samples = make([]sample, 0, number+1) // or it would grow in what it measures
	every := max(length/number, 100*time.Millisecond)
	tick := time.NewTicker(every)
	defer tick.Stop()
	began := time.Now()
	revoked := began
	for n := 0; time.Since(began) < length; n++ {
		<-tick.C
		samples = append(samples, take(time.Since(began)))
		if time.Since(revoked) < max(length/24, 3*time.Second) {
			continue
		}
		revoked = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		records, err := cluster.Records(ctx, name(n%keys))
		if err == nil && len(records) > 0 && cluster.Revoke(ctx, records[rand.IntN(len(records))]) == nil {
			sum.revoked.Add(1)
		}
		cancel()
	}
	return samples
}

// rest waits for d or the end of ctx.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
