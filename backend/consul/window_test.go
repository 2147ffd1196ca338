package consul_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend/consul"
)

// noticed is how long after the draw of the first a key is seen to be taken by the others, where n wait: it was measured.
func noticed(n int) time.Duration { return 2*time.Millisecond + time.Duration(n)*60*time.Microsecond }

// handOver lets the candidates with these windows take a key once, and returns who gets it, how many write, and when the
// first does.
func handOver(windows []consul.Window) (winner, writes int, first time.Duration) {
	drawn := make([]time.Duration, len(windows))
	for i, w := range windows {
		if drawn[i] = w.Draw(); drawn[i] < drawn[winner] {
			winner = i
		}
	}
	first = drawn[winner]
	for i := range windows {
		switch {
		case i == winner:
			windows[i].Won(first)
		case drawn[i] < first+noticed(len(windows)):
			writes++
			windows[i].Late(drawn[i], noticed(len(windows)))
		}
	}
	return winner, writes + 1, first
}

// Of however many, few write, once they have met; and the key does not lie free for long.
func TestFewOfManyWrite(t *testing.T) {
	t.Parallel()
	for _, stay := range []bool{true, false} { // winners stand again when their term is over
		for _, n := range []int{1, 2, 9, 100, 1000} {
			const crowds, learning, handovers = 20, 2, 10
			writes, slow := 0, time.Duration(0)
			for range crowds {
				windows := make([]consul.Window, n)
				for i := range learning + handovers {
					winner, w, first := handOver(windows)
					if i >= learning {
						writes += w
						slow += first
					}
					if !stay { // and somebody else comes
						windows[winner] = consul.Window{}
					}
				}
			}
			each, took := float64(writes)/crowds/handovers, slow/crowds/handovers
			t.Logf("%d wait, winners stay %v: %.1f write and the first does so after %v", n, stay, each, took)
			if each > 4+float64(n)/12 || took > 40*time.Millisecond {
				t.Errorf("of %d who wait, %.1f write per handover, and the first does so after %v", n, each, took)
			}
			if n == 1 && (each != 1 || took != 0) {
				t.Errorf("who is alone writes %.1f times, after %v", each, took)
			}
		}
	}
}

// Who was one of many and is alone now takes the key within the longest window, and soon at once.
func TestTheLastOfMany(t *testing.T) {
	t.Parallel()
	for range 1000 {
		var w consul.Window
		for range 10 {
			w.Late(0, time.Minute)
		}
		alone := 0
		for ; !w.None(); alone++ {
			d := w.Draw()
			if d < 0 || d > consul.MaxWindow {
				t.Fatalf("the key is left alone for %v, at most %v is allowed", d, consul.MaxWindow)
			}
			w.Won(d)
		}
		if alone > 9 {
			t.Fatalf("who is alone waited before %d wins", alone)
		}
	}
}

// A look that takes long makes the window longer, for now by as much as it takes, and in memory by a little.
func TestALookThatTakesLong(t *testing.T) {
	t.Parallel()
	var none, w consul.Window
	none.Looked(time.Minute)
	if !none.None() || !none.Busy(time.Minute).None() {
		t.Error("who has met nobody has a window")
	}
	w.Late(0, 0)
	first := w.Length()
	for _, tc := range []struct{ took, now, remembered time.Duration }{
		{first / 4, first, first},
		{first / 2, first * 3 / 2, first * 3 / 2},
		{5 * first, 15 * first, 2 * first},
		{time.Minute, consul.MaxWindow, 2 * first},
	} {
		w := w
		now := w.Busy(tc.took).Length()
		if w.Looked(tc.took); now != tc.now || w.Length() != tc.remembered {
			t.Errorf("a look took %v: the window is %v for now, want %v, and %v later, want %v", tc.took, now, tc.now, w.Length(), tc.remembered)
		}
	}
	for range 10 {
		w.Looked(time.Minute)
	}
	if w.Length() != consul.MaxWindow {
		t.Errorf("the window is %v at most", w.Length())
	}
}

// That a key lay free for long before somebody was too late for it says that few wait.
func TestAWriteInVainByChance(t *testing.T) {
	t.Parallel()
	var w consul.Window
	w.Late(0, 0)
	w.Late(0, 0)
	before := w
	for range 10 {
		w.Late(consul.MaxWindow, time.Minute)
	}
	if w != before {
		t.Errorf("the window %v became %v", before, w)
	}
	if w.Late(0, 0); w == before {
		t.Errorf("the window %v stays", w)
	}
}

// A Backend stands for keys without number in its life, and remembers the windows of some.
func TestFewWindowsAreRemembered(t *testing.T) {
	t.Parallel()
	b := open(t, connect(t, "127.0.0.1:1"))
	var none, w consul.Window
	w.Late(0, 0)
	for i := range 3 * consul.MaxWindows {
		key := fmt.Sprintf("window/%d", i)
		b.KeepWindow(key, w)
		if got := b.WindowOf(key); got != w.Length() {
			t.Fatalf("the window of the key number %d is %v, want %v", i, got, w.Length())
		}
	}
	if n := b.Windows(); n > consul.MaxWindows {
		t.Errorf("%d windows are remembered", n)
	}
	before := b.Windows()
	b.KeepWindow(fmt.Sprintf("window/%d", 3*consul.MaxWindows-1), none)
	if n := b.Windows(); n != before-1 {
		t.Errorf("%d windows are remembered after one of %d was none any more", n, before)
	}
}
