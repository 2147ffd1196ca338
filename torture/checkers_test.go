//go:build unix

package torture

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hustings-go/hustings/torture/stores"
)

// sound is what a small run without a flaw leaves: a leads, could not renew, and b leads after it.
func sound(t *testing.T) *evidence {
	t.Helper()
	h := newHistory()
	for line := range strings.Lines(`
1000 a.1 started
1000 b.1 started
2000 a.1 leading token=5
3000 a.1 valid token=5 last=3000 until=6000
5000 a.1 told token=5 cause=election:_the_term_was_not_renewed_in_time
6100 a.1 over token=5 last=5999
7000 b.1 leading token=8
7100 b.1 valid token=8 last=7100 until=9000
9000 a.1 woke token=5 valid=false after=3000
9500 b.1 told token=8 cause=context_canceled
9600 b.1 over token=8 last=9550
9900 a.1 left goroutines=0 fds=0
9900 b.1 left goroutines=0 fds=0
`) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		if err := h.line(line); err != nil {
			t.Fatal(err)
		}
	}
	return &evidence{
		timing: timing{ttl: 2000, expiry: 3000}, history: h,
		deeds: []*deed{{Kind: cut, Victim: "a.1", Token: 5, At: 4000, Until: 8000}}, deposed: map[uint64]bool{},
		fenced:   counter{value: 2, accepted: 2, runs: []run{{"a.1", 5, 2500, 2500}, {"b.1", 8, 7500, 7500}}},
		plain:    counter{value: 2, accepted: 2, runs: []run{{"a.1", 5, 2500, 2500}, {"b.1", 8, 7500, 7500}}},
		gone:     map[uint64]int64{5: 6900},
		healings: []healing{{wrote: 1, agreed: true}},
	}
}

func TestEveryCheckerSeesWhatItIsFor(t *testing.T) {
	t.Parallel()
	if v := sound(t).check(); len(v) != 0 {
		t.Fatalf("a run without a flaw: %q", v)
	}
	for name, c := range map[string]struct {
		checker string
		harm    func(*evidence)
	}{
		"nothing struck":           {"void", func(e *evidence) { e.deeds = nil }},
		"nobody followed":          {"void", func(e *evidence) { delete(e.history.terms, tenure{8, "b.1"}) }},
		"two valid terms":          {"overlap", func(e *evidence) { of(e, 5).last = 7001 }},
		"a dead leader's deadline": {"overlap", func(e *evidence) { *of(e, 5) = term{token: 5, who: "a.1", start: 2000, last: 3000, until: 7001} }},
		"a term under a later one": {"overlap", func(e *evidence) {
			e.history.terms[tenure{9, "a.1"}] = &term{token: 9, who: "a.1", start: 8000, over: true, last: 8500}
		}},
		"an end after the store's":          {"lag", func(e *evidence) { e.gone[5] = 5998 }},
		"an old token after a new one":      {"tokens", func(e *evidence) { e.fenced.runs = append(e.fenced.runs, run{"a.1", 5, 7600, 7600}) }},
		"a token of two":                    {"tokens", func(e *evidence) { e.plain.runs[1].token = 5 }},
		"a token won twice":                 {"logs", func(e *evidence) { _ = e.history.line("8000 b.1 leading token=8") }},
		"a token won by two":                {"tokens", func(e *evidence) { follow(e, 8) }},
		"a token that is lower":             {"tokens", func(e *evidence) { follow(e, 7) }},
		"a term that nobody saw end":        {"void", func(e *evidence) { clear(e.gone) }},
		"nobody wrote":                      {"void", func(e *evidence) { e.fenced = counter{} }},
		"nothing healed":                    {"void", func(e *evidence) { e.healings = nil }},
		"a token that was not won":          {"logs", func(e *evidence) { _ = e.history.line("8000 c.1 valid token=8 last=8000 until=9000") }},
		"a candidate that gave up":          {"logs", func(e *evidence) { _ = e.history.line("8000 c.1 failed err=permanent") }},
		"an update lost under the token":    {"lost updates", func(e *evidence) { e.fenced.value--; e.fenced.overwrote = map[uint64]int{8: 1} }},
		"nobody wrote after healing":        {"liveness", func(e *evidence) { e.healings[0].failed = true }},
		"observers that do not agree":       {"liveness", func(e *evidence) { e.healings[0].agreed = false }},
		"a term that outlived a long stop":  {"waking", func(e *evidence) { e.history.wakes[0].valid = true }},
		"an observer that went back":        {"observers", func(e *evidence) { e.back = []reversal{{at: 8000, newer: 7500, what: "token 5 after 8"}} }},
		"a goroutine left behind":           {"leaks", func(e *evidence) { e.history.leaks["a.1"] = held{goroutines: 1} }},
		"a descriptor left behind":          {"leaks", func(e *evidence) { e.history.leaks["a.1"] = held{fds: 1} }},
		"a record left behind":              {"leaks", func(e *evidence) { e.traces = []string{"record x"} }},
		"a candidate that would not leave":  {"leaks", func(e *evidence) { e.disorder = []string{"a"} }},
		"two leaders after an operator's":   {"overlap", func(e *evidence) { e.deposed[8] = true; of(e, 5).last = 7001 }},
		"a deposed one hides nobody's term": {"overlap", func(e *evidence) { deposedBetween(e) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := sound(t)
			c.harm(e)
			v := e.check()
			if !slices.ContainsFunc(v, func(s string) bool { return strings.HasPrefix(s, c.checker+": ") }) {
				t.Errorf("the checker %q saw nothing; all said: %q", c.checker, v)
			}
		})
	}
}

// of returns the term with a token.
func of(e *evidence, token uint64) *term {
	for _, t := range e.history.terms {
		if t.token == token {
			return t
		}
	}
	return nil
}

// follow has one more term follow the last.
func follow(e *evidence, token uint64) {
	e.history.terms[tenure{token, "c.1"}] = &term{token: token, who: "c.1", start: 9700, over: true, last: 9800}
}

// deposedBetween has a term that an operator ended stand between two that overlap.
func deposedBetween(e *evidence) {
	of(e, 5).last = 7001
	e.history.terms[tenure{6, "b.1"}] = &term{token: 6, who: "b.1", start: 6500, over: true, last: 6600}
	e.deposed[6] = true
}

func TestATermThatAnOperatorEndedIsNotBlamed(t *testing.T) {
	t.Parallel()
	e := sound(t)
	of(e, 5).last = 7500
	e.deposed[5] = true
	if v := e.check(); len(v) != 0 {
		t.Errorf("%q", v)
	}
}

// What a store that forgets can have forgotten is told, and not blamed; and nothing else.
func TestOnlyALapseForgives(t *testing.T) {
	t.Parallel()
	overlap := func(e *evidence) { of(e, 5).last = 7500 }
	late := func(e *evidence) { e.gone[5] = 5998 }
	shared := func(e *evidence) {
		follow(e, 8)
		e.fenced.runs = append(e.fenced.runs, run{"c.1", 8, 9750, 9750})
	}
	lower := func(e *evidence) { follow(e, 7) }
	undone := func(e *evidence) {
		shared(e)
		e.fenced.value--
		e.fenced.overwrote = map[uint64]int{8: 1}
	}
	another := func(e *evidence) {
		undone(e)
		e.fenced.overwrote = map[uint64]int{5: 1}
	}
	before := func(e *evidence) { // the store let go of the first who had the token
		shared(e)
		e.gone[8] = 9650
	}
	reversed := func(e *evidence) { e.back = []reversal{{at: 9900, newer: 7100, what: "token 7 after 8"}} }
	const (
		slack = int64(time.Second) // more than any that the checkers have
	)
	for name, c := range map[string]struct {
		harm  func(*evidence)
		lapse stores.Lapse // in nanoseconds, as sound has it
		clean bool
	}{
		"an overlap":                       {overlap, stores.Lapse{From: 4000, Again: 4000, Ended: 6000}, true},
		"an overlap a TTL later":           {overlap, stores.Lapse{From: 4000, Again: 4000, Ended: 4900}, false},
		"an overlap before":                {overlap, stores.Lapse{From: 7001, Again: 7001, Ended: 9000}, false},
		"a late end":                       {late, stores.Lapse{From: 4000, Again: 4000, Ended: 6000}, true},
		"a late end before":                {late, stores.Lapse{From: 6000, Again: 6000, Ended: 7000}, false},
		"a token of two":                   {shared, stores.Lapse{From: 6000, Again: 6000, Ended: 8000}, true},
		"a token of two, before":           {shared, stores.Lapse{From: 9700 + slack, Again: 9700 + slack, Ended: 9800 + slack}, false},
		"a token of two, the second lost":  {shared, stores.Lapse{From: 6000, Again: 9600, Ended: 9650}, true},
		"a token of two, a TTL later":      {shared, stores.Lapse{From: 1000, Again: 1000, Ended: 4900}, false},
		"a token of two, the first gone":   {before, stores.Lapse{From: 6000, Again: 6000, Ended: 7500}, true},
		"a lower token":                    {lower, stores.Lapse{From: 6000, Again: 6000, Ended: 8000}, true},
		"a lower token, a TTL later":       {lower, stores.Lapse{From: 1000, Again: 1000, Ended: 4900}, false},
		"an update under a token of two":   {undone, stores.Lapse{From: 6000, Again: 6000, Ended: 8000}, true},
		"an update under a token of one":   {another, stores.Lapse{From: 6000, Again: 6000, Ended: 8000}, false},
		"an observer's return":             {reversed, stores.Lapse{From: 6000, Again: 6000, Ended: 8000}, true},
		"an observer's return, unprovoked": {reversed, stores.Lapse{From: 7100 + slack, Again: 7100 + slack, Ended: 7200 + slack}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := sound(t)
			c.harm(e)
			if v := e.check(); len(v) == 0 {
				t.Fatal("without any lapse nothing is found")
			}
			e.lapses = []stores.Lapse{c.lapse}
			if v := e.check(); (len(v) == 0) != c.clean {
				t.Errorf("violations %q, want none: %v", v, c.clean)
			}
			whole := 0
			if c.lapse.Again == c.lapse.From {
				whole = 1
			}
			if f := e.forgot(); f.Failovers != whole || f.Overlaps+f.Repeats+f.Reversals+f.Lost == 0 && c.clean && !strings.HasPrefix(name, "a late") {
				t.Errorf("it is not told: %+v", f)
			}
		})
	}
}

// Whose session an operator revoked while it was winning is not known by its token; only who won just then is spared.
func TestARevocationOfNobodysTokenSparesWhoWonJustThen(t *testing.T) {
	t.Parallel()
	for at, clean := range map[int64]bool{2100: true, 2000 + int64(time.Second): false} {
		e := sound(t)
		of(e, 5).last = 7500
		e.deeds = append(e.deeds, &deed{Kind: revokeIt, At: at, Until: at + 100, Blind: true})
		if v := e.check(); (len(v) == 0) != clean {
			t.Errorf("revoked at %d: %q", at, v)
		}
	}
}

func TestDualWorkAndFailovers(t *testing.T) {
	t.Parallel()
	e := sound(t)
	e.plain.runs = append(e.plain.runs, run{"a.1", 5, 7600, 7700})
	if got := e.dual(false); got != 200 {
		t.Errorf("two worked for %d, want 200", got)
	}
	if got := e.stale(); got != 1 {
		t.Errorf("%d stale rows, want 1", got)
	}
	e.timing.ttl = time.Second
	if got := failoverStats(e.failovers(), true, cut); got.N != 1 || got.Max != 3000 {
		t.Errorf("failover %+v, want one of 3000", got)
	}
	e.deeds = append(e.deeds, &deed{Kind: slow, At: 5000, Until: 6000})
	if got := failoverStats(e.failovers(), true, cut); got.N != 0 {
		t.Errorf("failover %+v, although another fault struck meanwhile", got)
	}
}

func TestTheSameSeedPlansTheSame(t *testing.T) {
	t.Parallel()
	plan := func(seed uint64) []strike {
		p := newPlanner(seed, true)
		return append(p.storm(2*time.Second, time.Minute), p.duels(timing{ttl: 2 * time.Second, expiry: 3 * time.Second}, 4)...)
	}
	if !slices.Equal(plan(1), plan(1)) {
		t.Error("two plans from one seed")
	}
	if slices.Equal(plan(1), plan(2)) {
		t.Error("one plan from two seeds")
	}
	seen := map[kind]bool{}
	for seed := range uint64(20) {
		for _, s := range plan(seed) {
			seen[s.kind] = true
		}
	}
	for _, c := range chances(true) {
		if !seen[c.kind] {
			t.Errorf("%s is never planned", c.kind)
		}
	}
}

func TestTheRegisterRefusesAnOldToken(t *testing.T) {
	t.Parallel()
	r := startRegister(t)
	young, old := newWorker(r.url, "b.1"), newWorker(r.url, "a.1")
	defer young.close()
	defer old.close()
	if _, err := young.do("GET", "/fenced", 8, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := old.do("POST", "/fenced", 5, 1); err == nil {
		t.Error("a write of token 5 was accepted after a read of token 8")
	}
	if _, err := old.do("GET", "/fenced", 5, 0); err == nil {
		t.Error("a read of token 5 was answered after one of token 8")
	}
	if err := old.increment(5); err == nil {
		t.Error("an increment with an old token was not refused")
	}
	if err := young.increment(8); err != nil {
		t.Error(err)
	}
	fenced, plain := r.counters()
	if fenced.value != 1 || fenced.accepted != 1 || plain.value != 2 || plain.accepted != 2 {
		t.Errorf("fenced %+v, plain %+v", fenced, plain)
	}
}
