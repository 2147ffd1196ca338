//go:build unix

package torture

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// result is what a run is summed up to.
type result struct {
	Store      string
	Seed       uint64
	Date       time.Time
	Machine    string
	Took       time.Duration
	TTL        time.Duration
	Candidates int
	Members    int

	Periods int
	Faults  map[kind]int
	Terms   int
	Deposed int // terms that an operator ended

	Violations []string

	Gap         stats // between the end of a term and the start of the next; never negative
	Lag         stats // from the store's letting go of a term to its end; never positive
	DualWork    time.Duration
	DualDeposed time.Duration // of terms that an operator ended
	StaleRows   int
	Wakes       int
	Fenced      sum
	Plain       sum
	Liveness    stats
	Forgot      *forgot          // of a store that forgets
	Failover    map[string]stats // with nothing else wrong
	FailoverAny map[string]stats // also amid other faults
}

// forgot is what came of a store's forgetting, and is no violation, because the README says so.
type forgot struct {
	Failovers int
	Longest   time.Duration // from when the replica was last seen to follow to when the old primary last answered as one
	Overlaps  int           // of valid terms
	Overlap   time.Duration // the longest
	Repeats   int           // terms whose token was not greater than an earlier one's
	Lost      int           // updates under a token that two had
	Reversals int           // observers that were told
}

func (e *evidence) forgot() *forgot {
	f := &forgot{Repeats: len(e.repeats()), Reversals: len(e.back)}
	for _, l := range e.lapses {
		if l.Again == l.From {
			f.Failovers++
		}
		f.Longest = max(f.Longest, time.Duration(l.Ended-l.From))
	}
	for _, s := range e.spans() {
		if s.gap <= 0 {
			f.Overlaps++
			f.Overlap = max(f.Overlap, -s.gap)
		}
	}
	for _, lost := range e.fenced.overwrote {
		f.Lost += lost
	}
	return f
}

type sum struct{ Accepted, Refused, Lost int }

func (e *evidence) sumUp(r result) result {
	r.Machine = fmt.Sprintf("%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	r.TTL = e.timing.ttl
	r.Faults = map[kind]int{}
	for _, d := range e.deeds {
		r.Faults[d.Kind]++
	}
	r.Terms = len(e.history.terms)
	for _, t := range e.history.terms {
		if e.ousted(t) {
			r.Deposed++
		}
	}
	r.Violations = e.check()
	var gaps, wrote, lags []time.Duration
	for _, s := range e.spans() {
		if s.gap > 0 || !e.forgiven(s.old, s.next) {
			gaps = append(gaps, s.gap)
		}
	}
	for _, l := range e.lags() {
		if l.lag <= 0 || !l.forgiven {
			lags = append(lags, l.lag)
		}
	}
	if e.lapses != nil {
		r.Forgot = e.forgot()
	}
	for _, h := range e.healings {
		wrote = append(wrote, h.wrote)
	}
	r.Gap, r.Lag, r.Liveness = statsOf(gaps), statsOf(lags), statsOf(wrote)
	r.DualWork, r.DualDeposed, r.StaleRows = e.dual(false), e.dual(true), e.stale()
	r.Wakes = len(e.history.wakes)
	r.Fenced = sum{e.fenced.accepted, e.fenced.refused, e.fenced.lost()}
	r.Plain = sum{e.plain.accepted, e.plain.refused, e.plain.lost()}
	all := e.failovers()
	r.Failover, r.FailoverAny = map[string]stats{}, map[string]stats{}
	for name, kinds := range map[string][]kind{"crash": {kill}, "resign": {resign}, "cut": {cut, cutUp, cutDown}, "store": {split}} {
		r.Failover[name] = failoverStats(all, true, kinds...)
		r.FailoverAny[name] = failoverStats(all, false, kinds...)
	}
	return r
}

func (r result) table() string {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("store", "%s, %d members, TTL %v, %d candidates, seed %d", r.Store, r.Members, r.TTL, r.Candidates, r.Seed)
	row("run", "%v on %s, %s", r.Took.Round(time.Second), r.Date.Format(time.DateOnly), r.Machine)
	row("faults", "%s", r.faults())
	row("terms", "%d, of which an operator ended %d", r.Terms, r.Deposed)
	row("violations", "%d", len(r.Violations))
	row("between two terms", "%v", r.Gap.short())
	row("end of a term after the store let go", "%v", r.Lag.short())
	row("looks after a stop longer than the TTL", "%d", r.Wakes)
	row("updates with the token", "%d accepted, %d refused, %d lost", r.Fenced.Accepted, r.Fenced.Refused, r.Fenced.Lost)
	row("updates without", "%d accepted, %d lost, %d times an old term's after a new one's", r.Plain.Accepted, r.Plain.Lost, r.StaleRows)
	row("longest dual work without", "%v; %v by one whom an operator had deposed", r.DualWork.Round(time.Millisecond), r.DualDeposed.Round(time.Millisecond))
	row("first write after healing", "%v, %d healings", r.Liveness.short(), r.Liveness.N)
	if f := r.Forgot; f != nil {
		row("failovers of the store", "%d, the longest from the last sign of replication to the old primary's last word as one %v", f.Failovers, tidy(f.Longest))
		row("  two valid terms", "%d times, at most for %v", f.Overlaps, tidy(f.Overlap))
		row("  tokens that did not grow", "%d; %d updates lost under one that two had; %d times an observer was told", f.Repeats, f.Lost, f.Reversals)
	}
	kinds := []string{"crash", "resign", "cut"}
	if r.Forgot != nil {
		kinds = append(kinds, "store")
	}
	for _, name := range kinds {
		row("failover, "+name, "%s", r.Failover[name].times(r.TTL))
		row("  amid other faults too", "%s", r.FailoverAny[name].times(r.TTL))
	}
	_ = w.Flush() // to memory
	return b.String()
}

func (r result) faults() string {
	var kinds []string
	total := 0
	for k, n := range r.Faults {
		kinds = append(kinds, fmt.Sprintf("%s %d", k, n))
		total += n
	}
	slices.Sort(kinds)
	return fmt.Sprintf("%d: %s", total, strings.Join(kinds, ", "))
}

func (s stats) short() string {
	if s.N == 0 {
		return "none"
	}
	return fmt.Sprintf("min %v, median %v, max %v", tidy(s.Min), tidy(s.P50), tidy(s.Max))
}

func (s stats) times(ttl time.Duration) string {
	if s.N == 0 {
		return "none"
	}
	in := func(d time.Duration) string { return fmt.Sprintf("%v (%.2f TTL)", tidy(d), float64(d)/float64(ttl)) }
	return fmt.Sprintf("n %d, p50 %s, p99 %s, max %s", s.N, in(s.P50), in(s.P99), in(s.Max))
}

func tidy(d time.Duration) time.Duration {
	if d.Abs() < 10*time.Millisecond {
		return d.Round(time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

// write writes the result as JSON to a file in dir, and returns its name.
func (r result) write(dir string) (string, error) {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	name := filepath.Join(dir, fmt.Sprintf("%s-%d.json", r.Store, r.Seed))
	return name, os.WriteFile(name, append(text, '\n'), 0o644)
}
