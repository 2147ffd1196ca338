package rediskv

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// An election has two keys and a channel. What they share in braces is their hash tag, so that Redis
// Cluster keeps the keys in one slot, where one script may touch both. A brace cannot occur in an
// election's key, nor can a colon, so that nested elections never meet.

// leaseKey is a hash, the record of who leads, which expires with the lease.
func leaseKey(key string) string { return "{" + key + "}:lease" }

// fenceKey is the counter that tokens are taken from. It never expires and is never deleted.
func fenceKey(key string) string { return "{" + key + "}:fence" }

// channel is where changes are told. Who listens takes a message for a hint.
func channel(key string) string { return "{" + key + "}:events" }

// record is the hash of leaseKey as it was read at one moment; without a token there is none.
type record struct {
	holder, candidacy string
	token             uint64
	value             []byte
	ttl               time.Duration // what the holder asks for with each renewal
	left              time.Duration // until it expires; negative: never, or there is none
}

// fields are what a record is read from, in the order of parse.
func fields() []string { return []string{"holder", "candidacy", "token", "ttl", "value"} }

// parse reads a record from the answers to HMGET and PTTL.
func parse(values []any, left time.Duration) (record, error) {
	texts := make([]string, len(values))
	found := 0
	for i, v := range values {
		if s, ok := v.(string); ok {
			texts[i] = s
			found++
		}
	}
	if found == 0 {
		return record{left: -1}, nil
	}
	token, err := parseToken(texts[2])
	if err != nil {
		return record{}, err
	}
	return record{holder: texts[0], candidacy: texts[1], token: token, ttl: parseTTL(texts[3]), value: []byte(texts[4]), left: left}, nil
}

// parseToken takes nothing that this package did not write: a token that cannot be one is a record that
// somebody edited, and must not be taken for vacancy.
func parseToken(s string) (uint64, error) {
	token, err := strconv.ParseUint(s, 10, 63)
	if err != nil || token == 0 {
		return 0, fmt.Errorf("%w: its token is %.40q", errGarbled, s)
	}
	return token, nil
}

// errGarbled says that the lease's hash is none that this package wrote.
var errGarbled = errors.New("the record in the store is garbled")

// parseTTL reads a time in milliseconds, and 0 from what is none: it only shortens or lengthens a wait.
func parseTTL(s string) time.Duration {
	ms, err := strconv.ParseInt(s, 10, 64)
	if err != nil || ms < 0 || ms > MaxTTL.Milliseconds() {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// event is a message on an election's channel, as a hint.
type event struct {
	kind  eventKind
	token uint64        // of the term that was won or renewed, or whose value changed
	ttl   time.Duration // of the term that was won or renewed
	left  time.Duration // what the lease had left when it was renewed
	by    string        // the random part of who renewed it
	crowd int           // how many listened when the key was released
}

type eventKind int

const (
	somethingElse eventKind = iota // an operator's, or a later version's: look
	won                            // "won TOKEN TTL"
	renewed                        // "won TOKEN TTL LEFT BY", which earlier versions take for the same
	proclaimed                     // "value TOKEN"
	released                       // "released LISTENERS"
)

// parseEvent never fails: what it does not know is a reason to look.
func parseEvent(payload string) event {
	words := strings.Fields(payload)
	word := func(i int) string {
		if i >= len(words) {
			return ""
		}
		return words[i]
	}
	number := func(i int) uint64 {
		n, err := strconv.ParseUint(word(i), 10, 63)
		if err != nil {
			return 0
		}
		return n
	}
	switch word(0) {
	case "won":
		ev := event{kind: won, token: number(1), ttl: parseTTL(word(2))}
		if len(words) > 3 {
			ev.kind, ev.left, ev.by = renewed, parseTTL(word(3)), word(4)
		}
		return ev
	case "value":
		return event{kind: proclaimed, token: number(1)}
	case "released":
		return event{kind: released, crowd: int(min(number(1), math.MaxInt32))}
	default:
		return event{}
	}
}

// about reports whether ev tells of nothing but the term of token, or its value.
func (ev event) about(token uint64) bool {
	return (ev.kind == won || ev.kind == proclaimed) && ev.token == token
}

// leader is what an observer sees of r.
func (r record) leader() backend.Leader {
	if r.token == 0 {
		return backend.Leader{}
	}
	return backend.Leader{Value: r.value, Token: r.token}
}
