//go:build unix

package torture

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// history is what the candidates' logs tell, times in nanoseconds since 1970.
type history struct {
	terms   map[tenure]*term
	wakes   []wake
	leaks   map[string]held
	faults  map[string]bool // what no log may contain
	started map[string]bool
}

// tenure tells terms apart: a token alone should, and does not where the store may forget that it gave it.
type tenure struct {
	token uint64
	who   string
}

// term is one term as its holder saw it.
type term struct {
	token uint64
	who   string
	start int64  // the Leader event was taken
	last  int64  // Valid was true at this time, or later
	until int64  // the deadline, as it was last told while the term was valid
	told  int64  // its context was seen to have ended
	cause string // why
	over  bool   // Valid was seen to have turned false
}

// wake is the first look at a term after a gap longer than the TTL.
type wake struct {
	who   string
	token uint64
	valid bool
	after int64
}

func newHistory() *history {
	return &history{terms: map[tenure]*term{}, leaks: map[string]held{}, started: map[string]bool{}, faults: map[string]bool{}}
}

// line adds one line of a log: time, who, verb, and arguments as name=value.
func (h *history) line(text string) error {
	words := strings.Fields(text)
	if len(words) < 3 {
		return fmt.Errorf("log line %q", text)
	}
	at, err := strconv.ParseInt(words[0], 10, 64)
	if err != nil {
		return fmt.Errorf("log line %q: %w", text, err)
	}
	who, verb := words[1], words[2]
	args := make(map[string]string)
	number := make(map[string]int64)
	for _, word := range words[3:] {
		name, value, _ := strings.Cut(word, "=")
		args[name] = value
		number[name], _ = strconv.ParseInt(value, 10, 64) // not all are numbers
	}
	h.note(at, who, verb, args, number)
	return nil
}

func (h *history) note(at int64, who, verb string, args map[string]string, number map[string]int64) {
	token := uint64(number["token"])
	switch verb {
	case "started":
		h.started[who] = true
	case "left":
		h.leaks[who] = held{int(number["goroutines"]), int(number["fds"])}
	case "failed":
		h.faults[who+" gave up: "+args["err"]] = true
	case "woke":
		h.wakes = append(h.wakes, wake{who, token, args["valid"] == "true", number["after"]})
	case "leading":
		if h.terms[tenure{token, who}] != nil {
			h.faults[fmt.Sprintf("%s won token %d twice", who, token)] = true
			return
		}
		h.terms[tenure{token, who}] = &term{token: token, who: who, start: at}
	case "valid", "told", "over":
		t := h.terms[tenure{token, who}]
		if t == nil {
			h.faults[fmt.Sprintf("%s has token %d, which it did not win", who, token)] = true
			return
		}
		t.last = max(t.last, number["last"])
		switch verb {
		case "valid":
			t.until = number["until"]
		case "told":
			t.told, t.cause = at, args["cause"]
		default:
			t.over = true
		}
	}
}

// sorted returns the terms in the order in which they began.
func (h *history) sorted() []*term {
	return slices.SortedFunc(maps.Values(h.terms), func(a, b *term) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.token, b.token))
	})
}

// leader returns the newest term that is not known to be over, or nil.
func (h *history) leader() *term {
	var newest *term
	for _, t := range h.terms {
		if newest == nil || t.start > newest.start {
			newest = t
		}
	}
	if newest == nil || newest.over {
		return nil
	}
	return newest
}

// end is until when the term may have been valid. A holder that was killed is dead earlier, but its deadline is
// what its successor was promised against; so too one that is still stopped.
func (t *term) end() int64 {
	if t.over || t.told != 0 && !t.expired() {
		return t.last
	}
	return max(t.last, t.until)
}

// was reports whether the term was ever seen to be valid. One whose holder was stopped in between winning and
// saying so may be none any more when it says so, and then has no place in the order of terms.
func (t *term) was() bool { return t.end() > t.start }

// expired reports whether the term was told to stop because it could not be renewed. For every other reason it
// is over as soon as its work has returned, before the key is given up.
func (t *term) expired() bool { return strings.Contains(t.cause, "not_renewed_in_time") }

func (t *term) resigned() bool { return strings.Contains(t.cause, "resigned") }

// String names the term.
func (t *term) String() string { return fmt.Sprintf("term %d of %s", t.token, t.who) }
