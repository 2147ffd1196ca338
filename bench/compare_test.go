//go:build unix

package bench

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// measure is one idea of what to compare. Each adds rows to the table.
type measure struct {
	name  string
	waits bool // it spends its time waiting, and what it measures is slow: others may run beside it
	run   func(t *testing.T, r *run)
}

func measures() []measure {
	return []measure{
		{"handover", false, measureHandover},
		{"failover", true, measureFailover},
		{"rest", true, measureRest},
		{"herd", false, measureHerd},
		{"weight", false, measureWeight},
		{"process", false, measureProcess},
		{"pause", true, measurePause},
		{"cut", true, measureCut},
	}
}

// run is one run of some measures.
type run struct {
	*world
	table  *table
	quick  bool
	stores []string // that were chosen
}

// pick is one number for a quick run and another for a full one.
func pick[T any](r *run, quick, full T) T {
	if r.quick {
		return quick
	}
	return full
}

// matches are those on the stores that were chosen.
func (r *run) matches() []match {
	return slices.DeleteFunc(matches(), func(m match) bool { return !slices.Contains(r.stores, m.store) })
}

// ttl is that of measures that wait for it, on a store.
func (r *run) ttl(store string) time.Duration {
	switch store {
	case "Consul":
		return 10 * time.Second // its least
	case "Kubernetes":
		return pick(r, 4*time.Second, 15*time.Second)
	default:
		return pick(r, 4*time.Second, 6*time.Second) // with many at once on a busy machine, or by themselves
	}
}

// envResults names the environment variable with the folder where results are kept, if they are.
const envResults = "HUSTINGS_COMPARE_RESULTS"

// ask returns what the environment chooses from what there is: all, unless it names some. make compare sets it.
func ask(t *testing.T, name string, all []string) (chosen []string) {
	t.Helper()
	for _, v := range strings.FieldsFunc(os.Getenv("HUSTINGS_COMPARE_"+name), func(c rune) bool { return c == ',' || c == ' ' }) {
		i := slices.IndexFunc(all, func(known string) bool { return strings.EqualFold(known, v) })
		if i < 0 {
			t.Fatalf("%s %q is none of %s", name, v, strings.Join(all, ", "))
		}
		chosen = append(chosen, all[i])
	}
	if chosen == nil {
		return all
	}
	return chosen
}

// TestCompare measures, and prints what it measured. Without being asked for more it is a quick run, which only shows that
// all measures run, and that what they count makes sense: times are not checked, here or elsewhere.
func TestCompare(t *testing.T) {
	var names, stores []string
	for _, m := range measures() {
		names = append(names, m.name)
	}
	for _, m := range matches() {
		stores = append(stores, m.store)
	}
	names = ask(t, "MEASURE", names)
	if dir := os.Getenv(envResults); dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := &run{world: newWorld(t), table: &table{}, quick: os.Getenv("HUSTINGS_COMPARE_FULL") == "", stores: ask(t, "STORE", stores)}
	var alone, beside []measure
	for _, m := range measures() {
		switch {
		case !slices.Contains(names, m.name):
		case m.waits && r.quick:
			beside = append(beside, m)
		default:
			alone = append(alone, m)
		}
	}
	for _, m := range alone {
		t.Run(m.name, func(t *testing.T) { m.run(t, r) })
	}
	t.Run("beside", func(t *testing.T) {
		for _, m := range beside {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				m.run(t, r)
			})
		}
	})
	for _, wrong := range r.table.check() {
		t.Error(wrong)
	}
	fmt.Printf("\n%s\n%s\n\n%s\n", machine(), peers(), r.table.markdown())
	if dir := os.Getenv(envResults); dir != "" {
		name, err := r.table.write(dir)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("the figures are kept in", name)
	}
}
