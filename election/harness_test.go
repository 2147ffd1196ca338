package election

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/memory"
	"github.com/hustings-go/hustings/internal/trial"
)

const testKey = "service/leader"

// quiet keeps the expected trouble of tests out of their output.
func quiet() Option { return WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))) }

// bubble runs f in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func newStore(t *testing.T) *memory.Backend {
	t.Helper()
	b, err := memory.New(memory.WithTTL(testTTL))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func newPeer(t *testing.T, b *memory.Backend) *memory.Backend {
	t.Helper()
	p, err := b.Peer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func newElection(t *testing.T, b backend.Backend, value string, opts ...Option) *Election[string] {
	t.Helper()
	if storesTell {
		b = trial.Telling{Backend: b}
	}
	e, err := New(b, testKey, value, append([]Option{quiet()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// diary is a loop over events in a goroutine of its own, with all that it saw.
type diary struct {
	cancel context.CancelCauseFunc
	left   chan struct{}

	mu     sync.Mutex
	events []Event[string]
}

// standFor ranges over e.Events. body, if any, is called for every event; false leaves the loop.
func standFor(t *testing.T, e *Election[string], body func(Event[string]) bool) *diary {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	d := &diary{cancel: cancel, left: make(chan struct{})}
	go func() {
		defer close(d.left)
		for ev := range e.Events(ctx) {
			d.note(ev)
			if body != nil && !body(ev) {
				return
			}
		}
	}()
	return d
}

// watchFor ranges over e.Watch.
func watchFor(t *testing.T, e *Election[string], body func(Event[string])) *diary {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	d := &diary{cancel: cancel, left: make(chan struct{})}
	go func() {
		defer close(d.left)
		for ev := range e.Watch(ctx) {
			d.note(ev)
			if body != nil {
				body(ev)
			}
		}
	}()
	return d
}

func (d *diary) note(ev Event[string]) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, ev)
}

// stop ends the loop's context and waits until the loop has ended.
func (d *diary) stop() {
	d.cancel(errTest)
	<-d.left
}

func (d *diary) all() []Event[string] {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Event[string](nil), d.events...)
}

func (d *diary) last() Event[string] {
	all := d.all()
	if len(all) == 0 {
		return Event[string]{}
	}
	return all[len(all)-1]
}

// String writes what was seen as state:leader, one word an event; an error is marked by its cause.
func (d *diary) String() string {
	var words []string
	for _, ev := range d.all() {
		w := ev.State.String()
		if !ev.Leader.Vacant() {
			w += ":" + ev.Leader.Value
		}
		if ev.Err != nil {
			w += "!"
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

// want compares the course of states. How often a candidate that stands is told of another leader, or of
// none, depends on who runs first: it counts as one, and at the start as none.
func (d *diary) want(t *testing.T, want string) {
	t.Helper()
	var words []string
	for _, ev := range d.all() {
		w := ev.State.String()
		if w == "campaigning" && (len(words) == 0 || words[len(words)-1] == w) {
			continue
		}
		words = append(words, w)
	}
	if got := strings.Join(words, " "); got != want {
		t.Fatalf("saw  %s\nwant %s", got, want)
	}
}

// until lets virtual time pass until cond holds.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for range 6000 {
		synctest.Wait()
		if cond() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never came: %s", what)
}

func leads(e *Election[string]) func() bool { return func() bool { return e.Term().Valid() } }

// hooked lets a test stand between an election and its store.
type hooked struct {
	backend.Backend
	campaign func(ctx context.Context, next func(context.Context) (backend.Lease, error)) (backend.Lease, error)
	renew    func(ctx context.Context, next func(context.Context) (backend.Grant, error)) (backend.Grant, error)
	proclaim func(ctx context.Context, next func(context.Context) error) error
	resign   func(ctx context.Context, next func(context.Context) error) error
	wait     func(ctx context.Context, next func(context.Context) error) error
}

type hookedLease struct {
	backend.Lease
	h *hooked
}

func (h *hooked) Campaign(ctx context.Context, key string, value []byte) (backend.Lease, error) {
	next := func(ctx context.Context) (backend.Lease, error) {
		l, err := h.Backend.Campaign(ctx, key, value)
		if err != nil {
			return nil, err
		}
		return &hookedLease{l, h}, nil
	}
	if h.campaign == nil {
		return next(ctx)
	}
	return h.campaign(ctx, next)
}

func (l *hookedLease) Renew(ctx context.Context) (backend.Grant, error) {
	if l.h.renew == nil {
		return l.Lease.Renew(ctx)
	}
	return l.h.renew(ctx, l.Lease.Renew)
}

func (l *hookedLease) Proclaim(ctx context.Context, value []byte) error {
	next := func(ctx context.Context) error { return l.Lease.Proclaim(ctx, value) }
	if l.h.proclaim == nil {
		return next(ctx)
	}
	return l.h.proclaim(ctx, next)
}

func (l *hookedLease) Resign(ctx context.Context) error {
	if l.h.resign == nil {
		return l.Lease.Resign(ctx)
	}
	return l.h.resign(ctx, l.Lease.Resign)
}

func (l *hookedLease) Wait(ctx context.Context) error {
	if l.h.wait == nil {
		return l.Lease.Wait(ctx)
	}
	return l.h.wait(ctx, l.Lease.Wait)
}

// holder tells who holds the key in the store.
func holder(t *testing.T, b backend.Backend) string {
	t.Helper()
	for l, err := range b.Observe(t.Context(), testKey) {
		if err != nil {
			t.Fatal(err)
		}
		if l.Vacant() {
			return ""
		}
		return fmt.Sprintf("%s#%d", l.Value, l.Token)
	}
	t.Fatal("the observation ended by itself")
	return ""
}
