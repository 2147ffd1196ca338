//go:build unix

package bench

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// figures are the values of one side of a row, in the order in which they were measured.
type figures []float64

// quantile returns the smallest value that a share q of all does not exceed.
func (f figures) quantile(q float64) float64 {
	if len(f) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(f))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

func (f figures) median() float64 { return f.quantile(0.5) }

// row is one comparison. Peer is empty where there is none.
type row struct {
	Measure, Case, Store string
	Unit                 string // of the values: ms, ×TTL, /s, …
	Target               string
	Met                  string // "yes", "no", or "" where there is nothing to meet
	Ours                 figures
	Peer                 string
	Theirs               figures
	Spread               bool   // tell p99, and not the least and the most
	Counts               bool   // ours are of things that there must be some of
	Note                 string // what else there is to say
}

// table collects rows from measures that may run at once.
type table struct {
	mu   sync.Mutex
	Rows []row
}

func (t *table) add(r row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Rows = append(t.Rows, r)
}

// check says what cannot be, whatever the machine: a side that was not measured, and less than nothing.
func (t *table) check() (wrong []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.Rows {
		what := fmt.Sprintf("%s, %s, %s, %s", r.Measure, r.Case, r.Store, r.Unit)
		switch {
		case len(r.Ours) == 0 && r.Note == "":
			wrong = append(wrong, what+": ours was not measured, and no note says why")
		case r.Peer != "" && len(r.Theirs) == 0 && r.Note == "":
			wrong = append(wrong, what+": theirs was not measured, and no note says why")
		case r.Counts && len(r.Ours) > 0 && slices.Min(r.Ours) <= 0:
			wrong = append(wrong, fmt.Sprintf("%s: ours is %v, must be more than 0", what, r.Ours))
		}
	}
	return wrong
}

// verdict is a row's Met.
func verdict(met bool) string {
	if met {
		return "yes"
	}
	return "no"
}

// ratio is ours to theirs, by q.
func (r row) ratio(q float64) float64 { return r.Ours.quantile(q) / r.Theirs.quantile(q) }

// markdown prints the rows as one table, in the order of the measures.
func (t *table) markdown() string {
	var b strings.Builder
	fmt.Fprintln(&b, "| measure | store | target | ours | theirs | ratio | met |")
	fmt.Fprintln(&b, "|---|---|---|---|---|---|---|")
	for _, r := range t.Rows {
		what := r.Measure
		if r.Case != "" {
			what += ", " + r.Case
		}
		theirs, ratio := "–", "–"
		if r.Peer != "" {
			theirs = r.side(r.Theirs) + " (" + r.Peer + ")"
			ratio = r.ratios()
		}
		ours := r.side(r.Ours)
		if r.Note != "" {
			ours += "; " + r.Note
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", what, r.Store, r.Target, ours, theirs, ratio, r.Met)
	}
	return b.String()
}

func (r row) side(f figures) string {
	if len(f) == 0 {
		return "–"
	}
	text := strings.TrimSpace(number(f.median()) + " " + r.Unit)
	if r.Spread && len(f) > 1 {
		text += fmt.Sprintf(", p99 %s", number(f.quantile(0.99)))
	} else if len(f) > 1 {
		text += fmt.Sprintf(" (%s to %s)", number(slices.Min(f)), number(slices.Max(f)))
	}
	return text
}

func (r row) ratios() string {
	if len(r.Ours) == 0 || len(r.Theirs) == 0 || r.Theirs.median() == 0 {
		return "–"
	}
	text := number(r.ratio(0.5))
	if r.Spread && len(r.Ours) > 1 {
		text += ", p99 " + number(r.ratio(0.99))
	}
	return text
}

// number prints three digits, or all of a larger integer.
func number(v float64) string {
	switch abs := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case v == math.Trunc(v) || abs >= 100:
		return fmt.Sprintf("%.0f", v)
	case abs >= 10:
		return fmt.Sprintf("%.1f", v)
	case abs >= 1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.2g", v)
	}
}

// machine says where the figures come from.
func machine() string {
	cpu := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, found := strings.Cut(string(text), "model name"); found {
			name, _, _ := strings.Cut(rest, "\n")
			cpu = strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return fmt.Sprintf("%s, %d × %s, %s/%s, %s", time.Now().Format(time.DateOnly), runtime.NumCPU(), cpu, runtime.GOOS, runtime.GOARCH, runtime.Version())
}

//go:embed go.mod
var requirements string

// peers tells the versions of what is compared.
func peers() string {
	var all []string
	for line := range strings.Lines(requirements) {
		path, version, _ := strings.Cut(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(line), "// indirect")), " ")
		switch path {
		case "go.etcd.io/etcd/client/v3", "github.com/hashicorp/consul/api", "github.com/go-zookeeper/zk", "k8s.io/client-go", "github.com/redis/go-redis/v9":
			all = append(all, path+" "+version)
		}
	}
	return strings.Join(all, ", ")
}

// write keeps the rows as JSON in a folder, and returns the name of the file.
func (t *table) write(dir string) (string, error) {
	// A quantile of nothing is none that JSON knows, but values are only those that were measured.
	text, err := json.MarshalIndent(struct {
		Machine, Peers string
		Rows           []row
	}{machine(), peers(), t.Rows}, "", "\t")
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, fmt.Sprintf("compare-%s.json", time.Now().Format("20060102-150405")))
	return name, os.WriteFile(name, append(text, '\n'), 0o600)
}
