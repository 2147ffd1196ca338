//go:build unix

package bench

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

func TestQuantileIsAValueThatWasMeasured(t *testing.T) {
	f := figures{5, 1, 4, 2, 3}
	for q, want := range map[float64]float64{0: 1, 0.2: 1, 0.5: 3, 0.99: 5, 1: 5} {
		if got := f.quantile(q); got != want {
			t.Errorf("quantile %v of %v is %v, want %v", q, f, got, want)
		}
	}
}

func TestTableTellsBothSidesAndTheirRatio(t *testing.T) {
	var table table
	table.add(row{Measure: "handover", Store: "etcd", Unit: "ms", Target: "≤ 1", Met: "yes", Spread: true, Ours: figures{1, 1, 3}, Peer: "theirs", Theirs: figures{2, 2, 12}})
	table.add(row{Measure: "herd", Case: "10 waiting", Store: "etcd", Unit: "requests", Ours: figures{4, 3, 5}, Note: "of some"})
	text := table.markdown()
	for _, want := range []string{
		"| handover | etcd | ≤ 1 | 1 ms, p99 3 | 2 ms, p99 12 (theirs) | 0.5, p99 0.25 | yes |\n",
		"| herd, 10 waiting | etcd |  | 4 requests (3 to 5); of some | – | – |  |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no line\n%sin\n%s", want, text)
		}
	}
	name, err := table.write(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(name)
	var read struct{ Rows []row }
	if err == nil {
		err = json.Unmarshal(kept, &read)
	}
	if err != nil || len(read.Rows) != 2 || read.Rows[0].Theirs[2] != 12 {
		t.Errorf("kept are %+v, %v", read.Rows, err)
	}
}

func TestCheckFindsWhatCannotBe(t *testing.T) {
	for name, tc := range map[string]struct {
		row  row
		want string
	}{
		"measured":      {row{Ours: figures{1}, Peer: "theirs", Theirs: figures{0}, Counts: true}, ""},
		"no peer":       {row{Ours: figures{-1}}, ""},
		"peer stopped":  {row{Ours: figures{1}, Peer: "theirs", Note: "stopped at 200"}, ""},
		"no ours":       {row{Peer: "theirs", Theirs: figures{1}}, "ours was not measured"},
		"no theirs":     {row{Ours: figures{1}, Peer: "theirs"}, "theirs was not measured"},
		"nothing there": {row{Ours: figures{2, 0}, Counts: true}, "must be more than 0"},
	} {
		table := table{Rows: []row{tc.row}}
		wrong := strings.Join(table.check(), "\n")
		if (tc.want == "") != (wrong == "") || !strings.Contains(wrong, tc.want) {
			t.Errorf("%s: %q, want %q", name, wrong, tc.want)
		}
	}
}

func TestCountsAreReadFromWhatServersPrint(t *testing.T) {
	if got := field(t, "one:1\r\ntwo:22\r\n", "two:"); got != 22 {
		t.Errorf("the field is %d", got)
	}
}

func TestPeersTellsTheirVersions(t *testing.T) {
	if got := peers(); strings.Count(got, " v") != 5 {
		t.Errorf("peers are %q, want five with their versions", got)
	}
}
