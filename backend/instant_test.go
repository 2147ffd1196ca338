package backend_test

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/backend"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSinceCountsByTheClockThatSawMost(t *testing.T) {
	const s, h = time.Second, time.Hour
	for name, c := range map[string]struct {
		mono, wall, asleep time.Duration // how far each clock went on
		since, skew        time.Duration
	}{
		"nothing":                   {0, 0, 0, 0, 0},
		"all clocks agree":          {5 * s, 5 * s, 0, 5 * s, 0},
		"wall set forward":          {5 * s, h, 0, h, h - 5*s},
		"wall set back":             {5 * s, -h, 0, 5 * s, h + 5*s},
		"suspended":                 {5 * s, h + 5*s, h, h + 5*s, 0},
		"suspended, wall not moved": {5 * s, 5 * s, h, h + 5*s, h},
		"suspended, wall set back":  {5 * s, -h, h, h + 5*s, 2*h + 5*s},
		"a pause only wall saw":     {0, h, 0, h, h},
		"suspended time shrinks":    {5 * s, 5 * s, -h, 5 * s, 0}, // never counts backwards
		"earlier by all clocks":     {-5 * s, -5 * s, 0, -5 * s, 0},
		"nanoseconds":               {1, 2, 0, 2, 1},
	} {
		t.Run(name, func(t *testing.T) {
			start := backend.InstantAt(3*s, 1000*h, 7*s)
			end := backend.InstantAt(3*s+c.mono, 1000*h+c.wall, 7*s+c.asleep)
			if got := end.Since(start); got != c.since {
				t.Errorf("Since is %v, want %v", got, c.since)
			}
			if got := end.Skew(start); got != c.skew {
				t.Errorf("Skew is %v, want %v", got, c.skew)
			}
		})
	}
}

func TestAddMovesTheClocksThatRun(t *testing.T) {
	start := backend.InstantAt(time.Second, time.Hour, time.Minute)
	for _, d := range []time.Duration{0, 1, time.Hour, -time.Hour} {
		end := start.Add(d)
		if end.Since(start) != d || end.Skew(start) != 0 || !end.Wall().Equal(start.Wall().Add(d)) {
			t.Errorf("Add(%v): Since %v, Skew %v, wall %v", d, end.Since(start), end.Skew(start), end.Wall())
		}
	}
	if start != backend.InstantAt(time.Second, time.Hour, time.Minute) {
		t.Error("Add changed what it was called on")
	}
}

func TestWallIsWallTime(t *testing.T) {
	want := time.Date(2026, 11, 21, 5, 25, 0, 42, time.UTC)
	if got := backend.InstantAt(0, time.Duration(want.UnixNano()), 0).Wall(); !got.Equal(want) {
		t.Errorf("Wall() = %v, want %v", got, want)
	}
	before := time.Now()
	if got := backend.Now().Wall(); got.Before(before.Round(0)) || got.After(time.Now().Round(0)) {
		t.Errorf("Now().Wall() = %v, want one between %v and now", got, before)
	}
}

func TestNowGoesOn(t *testing.T) {
	last := backend.Now()
	for range 1000 {
		now := backend.Now()
		if since := now.Since(last); since < 0 {
			t.Fatalf("time went back by %v", -since)
		}
		last = now
	}
}

func TestNowFollowsVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := backend.Now()
		time.Sleep(24 * time.Hour)
		end := backend.Now()
		// Suspended time is the machine's own even in a bubble.
		const slack = time.Minute
		if since := end.Since(start); since < 24*time.Hour || since > 24*time.Hour+slack {
			t.Errorf("Since is %v after a virtual day", since)
		}
		if skew := end.Skew(start); skew > slack {
			t.Errorf("Skew is %v after a virtual day", skew)
		}
	})
}

func TestNowDoesNotAllocate(t *testing.T) {
	start := backend.Now()
	if n := testing.AllocsPerRun(100, func() {
		if backend.Now().Since(start) < 0 {
			t.Error("time went back")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestTheZeroLeaderIsVacant(t *testing.T) {
	if !(backend.Leader{}).Vacant() {
		t.Error("the zero Leader leads")
	}
	if (backend.Leader{Token: 1}).Vacant() {
		t.Error("a Leader without a value is vacant")
	}
}
