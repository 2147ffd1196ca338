package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestTimeline plays the show in virtual time and reads what it prints.
func TestTimeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open, err := memoryStore()
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		start := time.Now()
		if err := run(t.Context(), &out, open); err != nil {
			t.Fatalf("%v\n%s", err, &out)
		}
		checkTimeline(t, out.String())
		if took := time.Since(start); took >= 20*time.Second {
			t.Errorf("took %v", took)
		}
		if n := terms(out.String()); n != 4 {
			t.Errorf("%d terms, want 4", n)
		}
	})
}

func terms(text string) int { return strings.Count(text, "LEADS") }

func checkTimeline(t *testing.T, text string) {
	t.Helper()
	for _, want := range []string{"three candidates", "crashes", "resigns", "election: resigned", "cannot be reached", "not renewed in time", "errored", "the store is back", "the end"} {
		if !strings.Contains(text, want) {
			t.Errorf("the timeline does not show %q", want)
		}
	}
	if t.Failed() {
		t.Log("\n" + text)
	}
}
