package election

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/memory"
	"github.com/hustings-go/hustings/retry"
)

type oddTTL struct {
	backend.Backend
	ttl time.Duration
}

func (o oddTTL) TTL() time.Duration { return o.ttl }

func TestBadInputIsRefusedWithTheNumbers(t *testing.T) {
	store := newStore(t)
	for _, tt := range []struct {
		name string
		b    backend.Backend
		key  string
		opts []Option
		want []string // all of them in the message
	}{
		{"nil backend", nil, testKey, nil, []string{"backend is nil"}},
		{"typed nil backend", (*memory.Backend)(nil), testKey, nil, []string{"backend is nil"}},
		{"empty key", store, "", nil, []string{"empty", "A-Z"}},
		{"malformed key", store, "a//b", nil, []string{`"a//b"`, "empty"}},
		{"long key", store, strings.Repeat("x", 256), nil, []string{"256", "255"}},
		{"zero TTL", oddTTL{store, 0}, testKey, nil, []string{"0s", "positive"}},
		{"negative TTL", oddTTL{store, -5 * time.Second}, testKey, nil, []string{"-5s", "positive"}},
		{"zero margin", store, testKey, []Option{WithMargin(0)}, []string{"margin", "0s", "positive"}},
		{"margin over TTL", store, testKey, []Option{WithMargin(15 * time.Second)}, []string{"15s", "margin 15s", "drain 3s"}},
		{"margin and drain over TTL", store, testKey, []Option{WithMargin(8 * time.Second), WithDrain(7 * time.Second)}, []string{"15s", "8s", "7s"}},
		{"negative drain", store, testKey, []Option{WithDrain(-time.Second)}, []string{"drain", "-1s"}},
		{"huge drain", store, testKey, []Option{WithDrain(math.MaxInt64)}, []string{"drain"}},
		{"zero drain limit", store, testKey, []Option{WithDrainLimit(0)}, []string{"drain limit", "0s"}},
		{"negative pause", store, testKey, []Option{WithResignPause(-1)}, []string{"resign pause", "-1ns"}},
		{"nil logger", store, testKey, []Option{WithLogger(nil)}, []string{"logger"}},
		{"bad retry", store, testKey, []Option{WithRetry(retry.Policy{Initial: 9, Max: 3})}, []string{"9ns", "3ns"}},
		{"all at once", store, testKey, []Option{WithMargin(-1), WithDrainLimit(-2), WithLogger(nil)}, []string{"margin", "drain limit", "logger"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.b, tt.key, "v", tt.opts...)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not name %q", err, w)
				}
			}
			for _, err := range Observe[string](t.Context(), tt.b, tt.key, tt.opts...) {
				if err == nil {
					t.Error("Observe accepted it")
				}
			}
		})
	}
	if got := store.Calls(); got != 0 {
		t.Errorf("%d store calls for input that was refused", got)
	}
}

func TestNilArguments(t *testing.T) {
	e := newElection(t, newStore(t), "a", nil)
	var none context.Context
	if err := e.Run(none, func(context.Context, *Term) error { return nil }); err == nil || !strings.Contains(err.Error(), "context is nil") {
		t.Errorf("Run with a nil context: %v", err)
	}
	if err := e.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "function") {
		t.Errorf("Run with a nil function: %v", err)
	}
	n := 0
	for ev := range e.Events(none) {
		if n++; ev.State != StateErrored || ev.Err == nil || ev.Context() == nil {
			t.Errorf("event: %+v", ev)
		}
	}
	if n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestACancelledContextAsksNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		e := newElection(t, store, "a")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errTest)
		var states []State
		for ev := range e.Events(ctx) {
			states = append(states, ev.State)
		}
		if len(states) != 1 || states[0] != StateResigned {
			t.Errorf("saw %v", states)
		}
		if err := e.Run(ctx, func(context.Context, *Term) error { t.Error("led"); return nil }); !errors.Is(err, errTest) {
			t.Errorf("Run: %v", err)
		}
		for range Observe[string](ctx, store, testKey) {
			t.Error("observed")
		}
		for range e.Watch(ctx) {
			t.Error("watched")
		}
		if got := store.Calls(); got != 0 {
			t.Errorf("%d store calls", got)
		}
	})
}

func TestAValueThatIsTooLargeEndsTheLoopAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		e := newElection(t, store, strings.Repeat("x", 8<<20))
		err := e.Run(t.Context(), func(context.Context, *Term) error { return nil })
		if !retry.IsPermanent(err) {
			t.Errorf("Run: %v", err)
		}
		t.Log(err)
	})
}

type node struct {
	Addr string
	Load int
}

type level string

type both struct{ n int }

func (b *both) MarshalBinary() ([]byte, error) { return []byte{byte(b.n)}, nil }
func (b *both) UnmarshalBinary(p []byte) error {
	if len(p) != 1 {
		return errTest
	}
	b.n = int(p[0])
	return nil
}

func roundTrip[T any](t *testing.T, v T, wire string, same func(a, b T) bool) {
	t.Helper()
	c := newCodec[T]()
	b, err := c.encode(v)
	if err != nil || string(b) != wire {
		t.Errorf("%T: wrote %q, %v; want %q", v, b, err, wire)
	}
	got, err := c.decode(b)
	if err != nil || !same(got, v) {
		t.Errorf("%T: read %v, %v; want %v", v, got, err, v)
	}
}

func equal[T comparable](a, b T) bool    { return a == b }
func samePtr[T comparable](a, b *T) bool { return *a == *b }
func sameBytes[T ~[]byte](a, b T) bool   { return string(a) == string(b) }
func sameURL(a, b *url.URL) bool         { return a.String() == b.String() }
func sameSlice(a, b []string) bool       { return strings.Join(a, ",") == strings.Join(b, ",") }

func TestHowValuesAreWritten(t *testing.T) {
	s := "text"
	roundTrip(t, "a\x00b\xff", "a\x00b\xff", equal)
	roundTrip(t, &s, "text", samePtr)
	roundTrip(t, []byte("raw\x00"), "raw\x00", sameBytes)
	roundTrip(t, level("high"), "high", equal)
	roundTrip(t, node{"10.0.0.7:1", 3}, `{"Addr":"10.0.0.7:1","Load":3}`, equal)
	roundTrip(t, &node{"10.0.0.7:1", 3}, `{"Addr":"10.0.0.7:1","Load":3}`, samePtr)
	roundTrip(t, netip.MustParseAddr("10.0.0.7"), "10.0.0.7", equal)
	roundTrip(t, new(netip.MustParseAddr("10.0.0.7")), "10.0.0.7", samePtr)
	roundTrip(t, both{7}, "\x07", equal)
	roundTrip(t, &both{7}, "\x07", samePtr)
	roundTrip(t, []string{"a", "b"}, `["a","b"]`, sameSlice)
	roundTrip(t, 42, "42", equal)
	roundTrip(t, &url.URL{Scheme: "http", Host: "h"}, "http://h", sameURL)
}

func TestValuesThatCannotBeWrittenOrRead(t *testing.T) {
	if _, err := New(newStore(t), testKey, make(chan int)); err == nil {
		t.Error("a channel was accepted")
	}
	if _, err := New[*node](newStore(t), testKey, nil); !errors.Is(err, errNilValue) {
		t.Errorf("a nil pointer: %v", err)
	}
	l := newCodec[node]().leader(leader{Token: 3, Value: []byte("not JSON")})
	if l.Err == nil || l.Token != 3 || l.Value != (node{}) || l.Vacant() {
		t.Errorf("a foreign value: %+v", l)
	}
	if strings.Contains(l.Err.Error(), "not JSON") {
		t.Error("the error quotes another tenant's bytes")
	}
}

// A hostile hand may write anything. What is said about it fits into a line of a log, and is found by
// errors.As all the same.
func TestAnErrorAboutAForeignValueIsShortAndPrintable(t *testing.T) {
	for name, value := range map[string][]byte{
		"control bytes":  []byte("2026\x1b[2J\r\nlevel=ERROR msg=forged\x00\x7f\xff\u202e\u0085\u2028"),
		"a mebibyte":     bytes.Repeat([]byte("\xff"), 1<<20),
		"a long number":  bytes.Repeat([]byte("9"), 1<<20),
		"a long word":    bytes.Repeat([]byte("ü"), 1<<19),
		"almost a value": []byte("2026-11-21T06:30:53Z\n"),
	} {
		at := newCodec[time.Time]().leader(leader{Token: 3, Value: value})
		if parse := (*time.ParseError)(nil); !errors.As(at.Err, &parse) {
			t.Errorf("%s: the decoder's own error is hidden by %v", name, at.Err)
		}
		raw := newCodec[rude]().leader(leader{Token: 3, Value: value})
		if !errors.Is(raw.Err, errTest) {
			t.Errorf("%s: the decoder's own error is hidden by %v", name, raw.Err)
		}
		number := newCodec[uint8]().leader(leader{Token: 3, Value: value})
		for _, err := range []error{at.Err, raw.Err, number.Err} {
			checkForeign(t, name, err)
		}
	}
}

// rude quotes all that it is given, as it is.
type rude struct{}

func (rude) MarshalText() ([]byte, error)     { return nil, nil }
func (*rude) UnmarshalText(text []byte) error { return fmt.Errorf("%w: %s", errTest, text) }

func checkForeign(t *testing.T, name string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: accepted", name)
		return
	}
	text := err.Error()
	if len(text) > 300 {
		t.Errorf("%s: a text of %d bytes", name, len(text))
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		t.Errorf("%s: not printable: %q", name, text)
	}
}
