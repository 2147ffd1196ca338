//go:build unix

package torture

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hustings-go/hustings/torture/stores"
)

// evidence is what a run leaves for the checkers.
type evidence struct {
	timing   timing
	history  *history
	deeds    []*deed
	deposed  map[uint64]bool // tokens that an operator took away, or tried to
	lapses   []stores.Lapse  // when the store may have forgotten what it had acknowledged
	fenced   counter
	plain    counter
	gone     map[uint64]int64 // when the store was seen not to show a token as leading any more
	back     []reversal
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
		{"observers", e.backwards},
		{"leaks", e.leaks},
		{"logs", func() []string { return slices.Sorted(maps.Keys(e.history.faults)) }},
	} {
		for _, v := range checker.run() {
			violations = append(violations, checker.name+": "+v)
		}
	}
	return violations
}

// void: a run that harmed nobody, in which nobody followed anybody, or of which too little was seen, shows nothing.
func (e *evidence) void() (v []string) {
	if len(e.deeds) == 0 {
		v = append(v, "no fault struck")
	}
	if len(e.history.terms) < 2 {
		v = append(v, "the leader never changed")
	}
	if len(e.gone) == 0 {
		v = append(v, "no observer saw a term end")
	}
	if e.fenced.accepted == 0 || e.plain.accepted == 0 {
		v = append(v, "nobody wrote")
	}
	if len(e.healings) == 0 {
		v = append(v, "nothing was healed")
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
	var latest *term // of the terms so far, the one that ended last
	for _, t := range e.history.sorted() {
		if !t.was() {
			continue
		}
		if latest != nil {
			spans = append(spans, span{latest, t, time.Duration(t.start - latest.end())})
		}
		if !e.ousted(t) && (latest == nil || t.end() > latest.end()) {
			latest = t
		}
	}
	return spans
}

// ousted reports whether an operator ended the term, or may have. Where the one whose session was revoked had
// no token yet, that is who was winning just then.
func (e *evidence) ousted(t *term) bool {
	if e.deposed[t.token] {
		return true
	}
	const slack = 100 * time.Millisecond
	return slices.ContainsFunc(e.deeds, func(d *deed) bool {
		return d.Blind && t.start > d.At-int64(slack) && t.start < d.Until+int64(slack)
	})
}

// forgiven reports whether the store may have forgotten old, or that it had renewed it, before next won. It covers
// no more than package rediskv says that a failover can lose: exclusion, until a TTL after the old primary last
// answered as one. It may also have been next that the old primary gave the key to.
func (e *evidence) forgiven(old, next *term) bool {
	return slices.ContainsFunc(e.lapses, func(l stores.Lapse) bool {
		within := func(at int64) bool { return at >= l.Again && at < l.Ended+int64(e.timing.ttl) }
		return next.start > l.From && (within(old.end()) || within(next.start))
	})
}

// overlaps: at no instant do two candidates hold valid terms.
func (e *evidence) overlaps() (v []string) {
	for _, s := range e.spans() {
		if s.gap <= 0 && !e.forgiven(s.old, s.next) {
			v = append(v, fmt.Sprintf("%v was valid for %v after %v began", s.old, -s.gap, s.next))
		}
	}
	return v
}

// lag is how long after the store had let go of a term it was still valid: never positive. The store's
// word comes late, with an observer's event, so that the true figure is a little higher.
type lag struct {
	term     *term
	lag      time.Duration
	forgiven bool
}

func (e *evidence) lags() (lags []lag) {
	for _, t := range e.history.sorted() {
		gone, ok := e.gone[t.token]
		if !ok || e.ousted(t) || gone < t.start && e.twice(t.token) { // it was another's, who had the token before
			continue
		}
		// The store's letting go is as good as a next term that begins then.
		lags = append(lags, lag{t, time.Duration(t.end() - gone), e.forgiven(t, &term{start: gone})})
	}
	return lags
}

func (e *evidence) late() (v []string) {
	for _, l := range e.lags() {
		if l.lag > 0 && !l.forgiven {
			v = append(v, fmt.Sprintf("%v was valid for %v after the store had let go of it", l.term, l.lag))
		}
	}
	return v
}

// lost reports whether the store may have forgotten that it gave a token out at a time.
func (e *evidence) lost(given int64) bool {
	const slack = 200 * time.Millisecond // what was on its way to the replica when that was last seen to follow
	return slices.ContainsFunc(e.lapses, func(l stores.Lapse) bool {
		return given > l.Again-int64(slack) && given < l.Ended+int64(e.timing.ttl)
	})
}

// repeats returns each term whose token is not greater than an earlier one's, and that earlier one.
func (e *evidence) repeats() (pairs [][2]*term) {
	var high *term
	for _, t := range e.history.sorted() {
		switch {
		case !t.was():
		case high == nil || t.token > high.token:
			high = t
		default:
			pairs = append(pairs, [2]*term{high, t})
		}
	}
	return pairs
}

// tokens: they grow from term to term, at the resource that checks them they never go back, and nobody shares one.
func (e *evidence) tokens() (v []string) {
	for _, pair := range e.repeats() {
		if !e.lost(pair[0].start) && !e.lost(pair[1].start) {
			v = append(v, fmt.Sprintf("%v came after %v", pair[1], pair[0]))
		}
	}
	var high uint64
	for _, r := range e.fenced.runs {
		if r.token < high {
			v = append(v, fmt.Sprintf("a write with token %d of %s was accepted after one with %d", r.token, r.who, high))
		}
		high = max(high, r.token)
	}
	holder := map[uint64]string{}
	for _, r := range append(append([]run(nil), e.fenced.runs...), e.plain.runs...) {
		if who := holder[r.token]; who != "" && who != r.who && !e.twice(r.token) {
			v = append(v, fmt.Sprintf("token %d was used by %s and by %s", r.token, who, r.who))
		}
		holder[r.token] = r.who
	}
	return v
}

// twice reports whether a token may have been given out twice, because the store forgot one of the times.
func (e *evidence) twice(token uint64) bool {
	given, lost := 0, false
	for _, t := range e.history.terms {
		if t.token == token {
			given++
			lost = lost || e.lost(t.start)
		}
	}
	return given > 1 && lost
}

// lost is how many accepted increments are not in the value.
func (c *counter) lost() int { return c.accepted - c.value }

// lostUpdates: none under the token, but for those of a token that two had.
func (e *evidence) lostUpdates() (v []string) {
	for token, lost := range e.fenced.overwrote {
		if !e.twice(token) {
			v = append(v, fmt.Sprintf("%d of %d updates were lost to one under token %d", lost, e.fenced.accepted, token))
		}
	}
	if lost := e.fenced.lost(); lost != 0 && len(e.fenced.overwrote) == 0 {
		v = append(v, fmt.Sprintf("%d of %d updates were lost", lost, e.fenced.accepted))
	}
	return v
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

// backwards: no observer sees an older leader after a newer one, unless the store forgot the newer.
func (e *evidence) backwards() (v []string) {
	for _, r := range e.back {
		if !e.lost(r.newer) {
			v = append(v, r.what)
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
