//go:build unix

package torture

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// evidence is what a run leaves for the checkers.
type evidence struct {
	timing   timing
	history  *history
	deeds    []*deed
	deposed  map[uint64]bool
	fenced   counter
	plain    counter
	gone     map[uint64]int64 // when the store was seen not to show a token as leading any more
	back     []string
	healings []healing
	disorder []string // who did not leave in order
	traces   []string // what was left in the store
}

// healing is how an election came back when all faults were mended.
type healing struct {
	wrote  time.Duration // until a leader's write was accepted
	agreed bool          // all observers then saw one leader
	failed bool
}

// check returns what the run shows to be wrong, and whether it shows anything at all.
func (e *evidence) check() (violations []string) {
	for _, checker := range []struct {
		name string
		run  func() []string
	}{
		{"void", e.void},
		{"overlap", e.overlaps},
		{"lag", e.late},
		{"tokens", e.tokens},
		{"lost updates", e.lostUpdates},
		{"liveness", e.liveness},
		{"waking", e.waking},
		{"observers", func() []string { return e.back }},
		{"leaks", e.leaks},
		{"logs", func() []string { return slices.Sorted(maps.Keys(e.history.faults)) }},
	} {
		for _, v := range checker.run() {
			violations = append(violations, checker.name+": "+v)
		}
	}
	return violations
}

// void: a run that harmed nobody, or in which nobody followed anybody, shows nothing.
func (e *evidence) void() (v []string) {
	if len(e.deeds) == 0 {
		v = append(v, "no fault struck")
	}
	if len(e.history.terms) < 2 {
		v = append(v, "the leader never changed")
	}
	return v
}

// span is how far two terms were apart; negative if they overlapped.
type span struct {
	old, next *term
	gap       time.Duration
}

// spans returns how far apart terms that followed each other were, for all but those that an operator ended: no
// assumption covers these.
func (e *evidence) spans() (spans []span) {
	terms := e.history.sorted()
	latest := -1 // of the terms so far, the one that ended last
	for i, t := range terms {
		if latest >= 0 {
			old := terms[latest]
			spans = append(spans, span{old, t, time.Duration(t.start - old.end())})
		}
		if !e.deposed[t.token] && (latest < 0 || t.end() > terms[latest].end()) {
			latest = i
		}
	}
	return spans
}

// overlaps: at no instant do two candidates hold valid terms.
func (e *evidence) overlaps() (v []string) {
	for _, s := range e.spans() {
		if s.gap <= 0 {
			v = append(v, fmt.Sprintf("%v was valid for %v after %v began", s.old, -s.gap, s.next))
		}
	}
	return v
}

// lags returns how long after the store had let go of a term it was still valid: never positive. The store's
// word comes late, with an observer's event, so that the true figure is a little higher.
func (e *evidence) lags() (lags []time.Duration) {
	for _, t := range e.history.sorted() {
		if gone, ok := e.gone[t.token]; ok && !e.deposed[t.token] {
			lags = append(lags, time.Duration(t.end()-gone))
		}
	}
	return lags
}

func (e *evidence) late() (v []string) {
	for _, lag := range e.lags() {
		if lag > 0 {
			v = append(v, fmt.Sprintf("a term was valid for %v after the store had let go of it", lag))
		}
	}
	return v
}

// tokens: at the resource that checks them they never go back, and nobody shares one.
func (e *evidence) tokens() (v []string) {
	holder := map[uint64]string{}
	var high uint64
	for _, r := range e.fenced.runs {
		if r.token < high {
			v = append(v, fmt.Sprintf("a write with token %d of %s was accepted after one with %d", r.token, r.who, high))
		}
		high = max(high, r.token)
	}
	for _, r := range append(append([]run(nil), e.fenced.runs...), e.plain.runs...) {
		if who := holder[r.token]; who != "" && who != r.who {
			v = append(v, fmt.Sprintf("token %d was used by %s and by %s", r.token, who, r.who))
		}
		holder[r.token] = r.who
	}
	return v
}

// lost is how many accepted increments are not in the value.
func (c *counter) lost() int { return c.accepted - c.value }

func (e *evidence) lostUpdates() []string {
	if lost := e.fenced.lost(); lost != 0 {
		return []string{fmt.Sprintf("%d of %d updates under the token were lost", lost, e.fenced.accepted)}
	}
	return nil
}

func (e *evidence) liveness() (v []string) {
	for i, h := range e.healings {
		switch {
		case h.failed:
			v = append(v, fmt.Sprintf("no leader wrote within %v after healing %d", e.timing.bound(), i))
		case !h.agreed:
			v = append(v, fmt.Sprintf("observers did not agree on a leader within %v after healing %d", e.timing.bound(), i))
		}
	}
	return v
}

// waking: a term is over on the first look after a gap longer than the TTL.
func (e *evidence) waking() (v []string) {
	for _, w := range e.history.wakes {
		if w.valid {
			v = append(v, fmt.Sprintf("%s found term %d valid after a gap of %v", w.who, w.token, time.Duration(w.after)))
		}
	}
	return v
}

func (e *evidence) leaks() (v []string) {
	v = append(v, e.disorder...)
	for who, h := range e.history.leaks {
		if h.goroutines > 0 || h.fds > 0 {
			v = append(v, fmt.Sprintf("%s left with %d goroutines and %d descriptors more than it began with", who, h.goroutines, h.fds))
		}
	}
	if len(e.traces) > 0 {
		v = append(v, "left in the store: "+strings.Join(e.traces, ", "))
	}
	return v
}

// dual is the longest time for which the resource that asks for no token had two at work: from the first write
// of a term to the last one of an older term. Those that an operator ended count apart: they were told late.
func (e *evidence) dual(deposed bool) (longest time.Duration) {
	for i, young := range e.plain.runs {
		for _, r := range e.plain.runs[i:] {
			if r.token < young.token && e.deposed[r.token] == deposed {
				longest = max(longest, time.Duration(r.last-young.first))
			}
		}
	}
	return longest
}

// stale is how many rows of writes of an older term the resource that asks for no token took after a newer one.
func (e *evidence) stale() (n int) {
	var high uint64
	for _, r := range e.plain.runs {
		if r.token < high {
			n++
		}
		high = max(high, r.token)
	}
	return n
}
