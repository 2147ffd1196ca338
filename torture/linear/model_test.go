//go:build unix

package linear

import (
	"fmt"
	"math"

	"github.com/anishathalye/porcupine"
)

// kind is a kind of operation on the lease of a key.
type kind string

const (
	campaign kind = "campaign" // returned a lease
	renew    kind = "renew"
	proclaim kind = "proclaim"
	lost     kind = "lost" // a renewal or proclamation that returned ErrLost
	resign   kind = "resign"
	observe  kind = "observe" // the first value of an Observe
)

// op is one call, as the model sees it. Times are nanoseconds since 1970.
type op struct {
	kind   kind
	token  uint64 // 0: vacant
	value  string
	until  int64 // what was granted does not end before
	ret    int64
	unsure bool // it may have had its effect at any time after the call, or never
}

func (o op) String() string {
	s := fmt.Sprintf("%s %d", o.kind, o.token)
	if o.value != "" {
		s += " " + o.value
	}
	if o.unsure {
		s += " ?"
	}
	return s
}

// lease is what the model holds for a key: who leads, with which value, and until when it does at least.
type lease struct {
	token   uint64 // 0: vacant
	value   string
	until   int64
	highest uint64 // token so far
}

// vacated is the lease when its holder is gone.
func (l lease) vacated() lease { return lease{highest: l.highest} }

// model is the sequential specification. Its one peculiarity is that a lease ends by itself. That is no call
// of anybody's; so it may happen before any call, if the time that was granted had passed when the call returned:
// nothing else ties the order of calls to the clock. That is a choice, and makes the model nondeterministic.
//
// It holds the store to assumption A2 too: a lease that ends early is seen as soon as somebody else wins.
func model() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{lease{}} },
		Step: func(state, input, _ any) (next []any) {
			l, o := state.(lease), input.(op)
			if after, ok := l.apply(o); ok {
				next = append(next, after)
			}
			// What is unsure has no end that would bound the time of its effect, and needs no vacancy.
			if l.token != 0 && !o.unsure && o.ret >= l.until {
				if after, ok := l.vacated().apply(o); ok {
					next = append(next, after)
				}
			}
			return next
		},
		DescribeOperation: func(input, _ any) string { return input.(op).String() },
		DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
	}
	return m.ToModel()
}

// apply returns the lease after o, and whether o can have been answered as it was.
func (l lease) apply(o op) (lease, bool) {
	holds := l.token == o.token
	switch o.kind {
	case campaign:
		return lease{o.token, o.value, o.until, o.token}, l.token == 0 && o.token > l.highest
	case renew:
		l.until = max(l.until, o.until)
		return l, holds
	case proclaim:
		l.value = o.value
		return l, holds
	case lost:
		return l, !holds
	case resign: // nil says that the record is gone, by whatever hand; so it may have been gone before
		if holds {
			return l.vacated(), true
		}
		return l, true
	case observe:
		return l, holds && l.value == o.value
	}
	return l, false
}

const never = math.MaxInt64
