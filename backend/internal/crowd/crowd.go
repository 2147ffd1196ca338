// Package crowd has what a Backend goes by that proves the terms of a crowd of elections by one look at all keys of their folder: by a
// survey.
package crowd

import (
	"strings"
	"time"
)

// Pause is how long a renewal waits for those of the same rhythm, where a survey may answer for all of them.
const Pause = 20 * time.Millisecond

const (
	// maxVain is how many surveys in a row may prove nothing: candidates come and go, and keys are written, all the time.
	maxVain = 3

	// restTTLs is how many TTLs pass without surveys after they proved to be of no use.
	restTTLs = 20
)

// Worth is what is known of the use of surveys: at first, nothing that speaks against them. Its owner guards it.
type Worth struct {
	vain int       // that proved nothing, in a row
	rest time.Time // until when there are none
}

// Resting reports whether there are to be none now.
func (w *Worth) Resting() bool { return time.Now().Before(w.rest) }

// Rest has none made for a good while.
func (w *Worth) Rest(ttl time.Duration) { *w = Worth{rest: time.Now().Add(restTTLs * ttl)} }

// Made notes that one was made, and whether it proved anything. It reports whether another one is worth it.
func (w *Worth) Made(proved bool) bool {
	if w.vain++; proved {
		w.vain = 0
	}
	return w.vain < maxVain
}

// Range is keys from the first to the last, in the order of their bytes. The zero Range has none.
type Range struct{ First, Last string }

// Add takes one more key in.
func (r *Range) Add(key string) {
	if r.First == "" || key < r.First {
		r.First = key
	}
	r.Last = max(r.Last, key)
}

// Prefix is what all keys of r begin with; or empty if that is in no folder, so that anything might be in between.
func (r Range) Prefix() string {
	n := 0
	for n < len(r.First) && r.First[n] == r.Last[n] { // Last is no shorter, if it begins like that
		n++
	}
	if prefix := r.First[:n]; strings.Contains(prefix, "/") {
		return prefix
	}
	return ""
}
