package election

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// seeds is how many schedules a plain go test runs. SEEDS=n changes it, SEED=n runs that one alone, and
// FROM=n starts there.
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
	var total simStats
	begun := time.Now()
	for seed := from; seed < from+n; seed++ {
		r := simulate(t.Context(), newScenario(seed), false)
		total.add(r.stats)
		if r.violation != nil {
			report(t, newScenario(seed), r.violation)
			return
		}
	}
	t.Logf("%v\n%.0f schedules a second", &total, float64(n)/time.Since(begun).Seconds())
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
