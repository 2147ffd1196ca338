package crowd_test

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/backend/internal/crowd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSurveysThatProveNothingAreGivenUp(t *testing.T) {
	for what, tc := range map[string]struct {
		proved []bool
		worth  bool // another one
	}{
		"at first":                    {nil, true},
		"two that proved nothing":     {[]bool{false, false}, true},
		"three that proved nothing":   {[]bool{false, false, false}, false},
		"three of four":               {[]bool{false, false, true, false}, true},
		"three after one that proved": {[]bool{true, false, false, false}, false},
	} {
		var w crowd.Worth
		worth := true
		for _, proved := range tc.proved {
			worth = w.Made(proved)
		}
		if worth != tc.worth || w.Resting() {
			t.Errorf("%s: another one is worth it: %v, want %v; resting: %v", what, worth, tc.worth, w.Resting())
		}
	}
}

// After a rest it is as at first.
func TestARestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ttl = 15 * time.Second
		var w crowd.Worth
		for range 2 {
			w.Made(false)
			w.Made(false)
			w.Rest(ttl)
			time.Sleep(20*ttl - 1)
			if !w.Resting() {
				t.Error("the rest was too short")
			}
			if time.Sleep(1); w.Resting() || !w.Made(false) {
				t.Error("the rest goes on, or what was before it counts")
			}
		}
	})
}

func TestTheRangeOfKeysAndTheirFolder(t *testing.T) {
	for _, tc := range []struct {
		keys                []string
		first, last, prefix string
	}{
		{nil, "", "", ""},
		{[]string{"a/b"}, "a/b", "a/b", "a/b"},
		{[]string{"a/bc", "a/bd", "a/b"}, "a/b", "a/bd", "a/b"},
		{[]string{"a/c", "a/b/c", "a/d"}, "a/b/c", "a/d", "a/"},
		{[]string{"a/b/d", "a/b/c"}, "a/b/c", "a/b/d", "a/b/"},
		{[]string{"ab", "ac"}, "ab", "ac", ""},
		{[]string{"ab/c", "ac/c"}, "ab/c", "ac/c", ""},
		{[]string{"/a", "/b"}, "/a", "/b", "/"},
		{[]string{"a/b", "b/a"}, "a/b", "b/a", ""},
	} {
		var r crowd.Range
		for _, key := range tc.keys {
			r.Add(key)
		}
		if r.First != tc.first || r.Last != tc.last || r.Prefix() != tc.prefix {
			t.Errorf("%q: from %q to %q below %q, want from %q to %q below %q", tc.keys, r.First, r.Last, r.Prefix(), tc.first, tc.last, tc.prefix)
		}
	}
}
