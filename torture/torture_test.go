//go:build unix

package torture

import (
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
	"github.com/hustings-go/hustings/torture/stores"
)

func TestMain(m *testing.M) {
	if servers.Role() == roleCandidate {
		os.Exit(play())
	}
	goleak.VerifyTestMain(trial.Outlast{M: m})
}

// setting is what a run is asked to be, by the environment; make torture sets it.
type setting struct {
	stores []stores.Store
	seed   uint64
	long   time.Duration // 0: a smoke test
	keep   string        // folder for the result
}

func settings(t *testing.T) setting {
	t.Helper()
	value := func(name, otherwise string) string {
		if v := os.Getenv("HUSTINGS_TORTURE_" + name); v != "" {
			return v
		}
		return otherwise
	}
	asked, err := stores.Asked(value("STORE", ""))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := strconv.ParseUint(value("SEED", strconv.FormatInt(time.Now().UnixNano()%1e6, 10)), 10, 64)
	if err != nil {
		t.Fatalf("SEED: %v", err)
	}
	minutes, err := strconv.ParseFloat(value("MINUTES", "0"), 64)
	if err != nil {
		t.Fatalf("MINUTES: %v", err)
	}
	return setting{asked, seed, time.Duration(minutes * float64(time.Minute)), value("RESULTS", "")}
}

// TestTorture runs one election amid faults, on each store that is asked for, and checks all that is known of it
// afterwards.
func TestTorture(t *testing.T) {
	s := settings(t)
	t.Logf("seed %d", s.seed)
	for _, store := range s.stores {
		t.Run(store.Name, func(t *testing.T) { torture(t, store, s) })
	}
}

func torture(t *testing.T, store stores.Store, s setting) {
	const candidates = 5
	began := time.Now()
	w := build(t, store, candidates)
	w.ready()
	n := newNemesis(w)
	healings := n.run(newPlanner(s.seed, store.Forgets), s.long)
	e := n.gather(healings)
	r := e.sumUp(result{
		Store: store.Name, Seed: s.seed, Date: began, Took: time.Since(began),
		Candidates: candidates, Members: store.Members, Periods: len(healings),
	})
	n.report(r, s)
}

// run plays periods of faults, healing after each: a storm and duels by turns.
func (n *nemesis) run(p *planner, long time.Duration) (healings []healing) {
	const (
		tooLong = 10 * time.Second // for a test among others
		most    = 4                // turns of a short run, whose first may have shown nothing
	)
	for turn := 0; long == 0 && turn < most && (turn == 0 || n.void(healings)); turn++ {
		if n.timing.expiry > tooLong {
			n.carryOut(p.sketch(n.timing), n.timing.expiry)
			healings = append(healings, n.heal())
			continue
		}
		n.carryOut(p.duels(n.timing, 1), n.timing.expiry)
		healings = append(healings, n.heal())
		n.carryOut(p.storm(n.timing.ttl, 4*n.timing.ttl), time.Second)
		healings = append(healings, n.heal())
	}
	for end := time.Now().Add(long); time.Now().Before(end); {
		n.carryOut(p.storm(n.timing.ttl, p.between(5*n.timing.ttl, 25*n.timing.ttl/2)), time.Second)
		healings = append(healings, n.heal())
		n.carryOut(p.duels(n.timing, 1+p.r.IntN(4)), n.timing.expiry)
		healings = append(healings, n.heal())
	}
	return healings
}

// void reports whether the run has shown nothing so far.
func (n *nemesis) void(healings []healing) bool {
	n.Helper()
	n.listen()
	e := n.evidence()
	e.healings = healings
	return len(e.void()) > 0
}

// heal looks that the election is well again, now that all is mended.
func (n *nemesis) heal() healing {
	n.Helper()
	healed := time.Now()
	wrote := n.within(n.timing.bound(), "a leader's write", func() bool { return n.register.wrote(healed) })
	h := healing{wrote: time.Since(healed), failed: !wrote}
	h.agreed = n.within(n.timing.bound(), "observers to agree", n.watch.agree)
	return h
}

// gather ends the election and collects what it left.
func (n *nemesis) gather(healings []healing) *evidence {
	n.Helper()
	n.watch.stop() // on some stores it has sessions
	quiet := n.quiet()
	n.within(n.timing.bound(), "all candidates to stand", n.standing)
	disorder := n.leave()
	traces := n.traces()
	if !quiet {
		disorder = append(disorder, "the sessions of dead candidates did not end")
	}
	n.listen()
	e := n.evidence()
	e.healings, e.disorder, e.traces = healings, disorder, traces
	return e
}

// evidence is what is known up to now.
func (n *nemesis) evidence() *evidence {
	e := &evidence{timing: n.timing, history: n.history, deeds: n.deeds, deposed: n.deposed}
	if cluster, ok := n.cluster.(stores.Forgetful); ok {
		e.lapses = cluster.Lapses()
	}
	e.fenced, e.plain = n.register.counters()
	n.watch.mu.Lock()
	defer n.watch.mu.Unlock()
	e.gone, e.back = maps.Clone(n.watch.gone), slices.Clone(n.watch.back)
	return e
}

// report tells the result, and keeps what a violation can be understood from.
func (n *nemesis) report(r result, s setting) {
	n.Helper()
	n.Logf("\n%s", r.table())
	if s.keep != "" {
		name, err := r.write(s.keep)
		if err != nil {
			n.Fatal(err)
		}
		n.Logf("the result is kept in %s", name)
	}
	if len(r.Violations) == 0 {
		return
	}
	dir, err := n.keep()
	if err != nil {
		n.Errorf("the logs could not be kept: %v", err)
	}
	if _, err := r.write(dir); err != nil {
		n.Errorf("the result could not be kept: %v", err)
	}
	for _, v := range r.Violations {
		n.Error(v)
	}
	n.Errorf("the logs are kept in %s", dir)
}
