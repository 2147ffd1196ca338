package election

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// seeds is how many schedules are run: 200 under -short, 2,000 otherwise. SEEDS=n changes it, as make sim
// does, SEED=n runs that one alone, and FROM=n starts there.
func seeds(t *testing.T) (from, n uint64) {
	number := func(name string, otherwise uint64) uint64 {
		s := strings.TrimSpace(os.Getenv(name))
		if s == "" {
			return otherwise
		}
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return v
	}
	n = 2000
	if testing.Short() {
		n = 200
	}
	if os.Getenv("SEED") != "" {
		return number("SEED", 0), 1
	}
	return number("FROM", 0), number("SEEDS", n)
}

// TestSimulation runs schedules of chance. A failure names its seed, the shortest schedule found that
// fails alike, and the end of that one's trace.
func TestSimulation(t *testing.T) {
	from, n := seeds(t)
	begun := time.Now()
	total, failed := simulateAll(t.Context(), from, n)
	t.Logf("seeds %d to %d: %v\n%.0f schedules a second", from, from+n-1, total, float64(total.runs)/time.Since(begun).Seconds())
	if failed != nil {
		report(t, newScenario(failed.seed), failed.violation)
	}
}

// simulateAll runs n schedules, each by itself in one goroutine, as many at a time as there are processors.
// It stops at the first that fails, or one near it.
func simulateAll(ctx context.Context, from, n uint64) (*simStats, *result) {
	var (
		next   atomic.Uint64
		mu     sync.Mutex
		total  simStats
		failed *result
		wg     sync.WaitGroup
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				seed := next.Add(1) - 1
				if seed >= n {
					return
				}
				r := simulate(ctx, newScenario(from+seed), false)
				mu.Lock()
				total.add(r.stats)
				if r.violation != nil && (failed == nil || r.seed < failed.seed) {
					failed = &r
					next.Store(n)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return &total, failed
}

// report shows a failing scenario in its shortest form.
func report(t *testing.T, s scenario, v *violation) {
	t.Helper()
	const tail = 60
	short, v2 := shrink(t.Context(), s, v)
	r := simulate(t.Context(), short, true)
	t.Errorf("%v\nrun it again with SEED=%d go test ./election -run TestSimulation\nin short: %v\n%v\n%s",
		v, s.seed, v2, short, strings.Join(r.trace[max(0, len(r.trace)-tail):], "\n"))
}

func TestSimulationRunsTheSameWayTwice(t *testing.T) {
	for seed := range uint64(50) {
		a := simulate(t.Context(), newScenario(seed), false)
		b := simulate(t.Context(), newScenario(seed), true)
		if a.hash != b.hash || a.stats.events != b.stats.events {
			t.Fatalf("seed %d: traces %x and %x", seed, a.hash, b.hash)
		}
	}
}
