package election

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// clocks are three clocks that a test moves.
type clocks struct {
	mu                 sync.Mutex
	mono, wall, asleep time.Duration
}

func (c *clocks) now() instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	return backend.InstantAt(c.mono, c.wall, c.asleep)
}

func (c *clocks) move(mono, wall, asleep time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mono += mono
	c.wall += wall
	c.asleep += asleep
}

func termOn(t *testing.T, c *clocks) *Term {
	t.Helper()
	p, err := rules{}.plan(testTTL)
	if err != nil {
		t.Fatal(err)
	}
	return newTerm(t.Context(), c.now, 7, grant{Sent: c.now(), TTL: testTTL}, p)
}

func TestValidByEveryClock(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name               string
		mono, wall, asleep time.Duration
		valid, dead        bool
	}{
		{"at once", 0, 0, 0, true, false},
		{"just before hard", 13499 * time.Millisecond, 13499 * time.Millisecond, 0, true, false},
		{"at hard", 13500 * time.Millisecond, 13500 * time.Millisecond, 0, false, true},
		{"suspended, wall clock right", s, 100 * s, 99 * s, false, true},
		{"suspended, wall clock stood still too", s, s, 99 * s, false, true},
		{"suspend that only the wall clock tells", s, 100 * s, 0, false, true},
		{"wall clock set forward, less than hard", s, 5 * s, 0, false, false},
		{"wall clock set back an hour", s, -3600 * s, 0, false, false},
		{"wall clock slewed by less than half of the margin", 5 * s, 5*s + 700*time.Millisecond, 0, true, false},
		{"boot clock set back", 5 * s, 5 * s, -3 * s, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &clocks{mono: time.Hour, wall: 1000 * time.Hour, asleep: time.Minute}
			term := termOn(t, c)
			c.move(tt.mono, tt.wall, tt.asleep)
			if got := term.Valid(); got != tt.valid {
				t.Errorf("Valid %v, want %v", got, tt.valid)
			}
			if got := term.dead(); got != tt.dead {
				t.Errorf("over for good: %v, want %v", got, tt.dead)
			}
		})
	}
}

func TestATermOnceSeenOverStaysOver(t *testing.T) {
	c := &clocks{wall: 1000 * time.Hour}
	term := termOn(t, c)
	c.move(time.Second, time.Hour, 0)
	if term.Valid() {
		t.Fatal("valid past its deadline")
	}
	c.move(0, -time.Hour, 0) // the clock is set right again
	p, _ := rules{}.plan(testTTL)
	term.install(grant{Sent: c.now(), TTL: testTTL}, p)
	if term.Valid() || !term.Deadline().IsZero() {
		t.Error("a term that was seen over was revived")
	}
}

func TestASkewedTermIsValidAgainAfterARenewal(t *testing.T) {
	c := &clocks{wall: 1000 * time.Hour}
	term := termOn(t, c)
	c.move(time.Second, -time.Hour, 0)
	if term.Valid() {
		t.Fatal("valid though the clocks have parted")
	}
	p, _ := rules{}.plan(testTTL)
	term.install(grant{Sent: c.now(), TTL: testTTL}, p)
	if !term.Valid() {
		t.Error("not valid after a renewal")
	}
}

// TestValidRacesWithRenewals is for the race detector, and for the rule that over is over.
func TestValidRacesWithRenewals(t *testing.T) {
	c := &clocks{wall: 1000 * time.Hour}
	term := termOn(t, c)
	p, _ := rules{}.plan(testTTL)
	var wg sync.WaitGroup
	var over atomic.Bool
	for range 4 {
		wg.Go(func() {
			for range 5000 {
				was := over.Load()
				if v := term.Valid(); v && was {
					t.Error("valid after it was seen over")
					return
				} else if !v {
					over.Store(true)
				}
			}
		})
	}
	wg.Go(func() {
		for range 1000 {
			c.move(200*time.Millisecond, 200*time.Millisecond, 0)
			if !over.Load() {
				term.install(grant{Sent: c.now(), TTL: testTTL}, p)
			}
		}
		c.move(time.Minute, time.Minute, 0)
	})
	wg.Wait()
	if term.Valid() {
		t.Error("valid at the end")
	}
}

func TestNilTerm(t *testing.T) {
	var term *Term
	if term.Valid() || term.Token() != 0 || !term.Deadline().IsZero() || term.Go(func(context.Context) {}) {
		t.Error("a nil term does something")
	}
	if err := term.Confirm(t.Context()); !errors.Is(err, ErrNotLeading) {
		t.Errorf("Confirm: %v", err)
	}
	ctx, cancel := term.Bind(t.Context())
	defer cancel()
	if !errors.Is(context.Cause(ctx), ErrNotLeading) {
		t.Errorf("Bind: %v", context.Cause(ctx))
	}
	if TermFrom(t.Context()) != nil {
		t.Error("a term from nowhere")
	}
}

func TestBindEndsWithEitherOfTheTwo(t *testing.T) {
	c := &clocks{wall: 1000 * time.Hour}
	term := termOn(t, c)
	parent, cancel := context.WithCancelCause(t.Context())
	one, stopOne := term.Bind(parent)
	defer stopOne()
	two, stopTwo := term.Bind(t.Context())
	defer stopTwo()
	three, stopThree := term.Bind(t.Context())
	stopThree()
	cancel(errTest)
	<-one.Done()
	<-three.Done()
	if context.Cause(one) != errTest || two.Err() != nil { //nolint:errorlint // the very error
		t.Errorf("causes: %v, %v", context.Cause(one), context.Cause(two))
	}
	term.cancel(ErrLost)
	<-two.Done()
	if !errors.Is(context.Cause(two), ErrLost) || TermFrom(two) != term {
		t.Errorf("cause: %v", context.Cause(two))
	}
}

func TestWorkStartedWithGoIsAwaited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		e := newElection(t, store, "a")
		finished := false
		err := e.Run(t.Context(), func(_ context.Context, term *Term) error {
			if !term.Go(func(ctx context.Context) {
				<-ctx.Done()
				if term.Go(func(context.Context) {}) {
					t.Error("work began after the term was told to stop")
				}
				time.Sleep(3 * time.Second)
				if !term.Valid() || holder(t, store) != "a#1" {
					t.Error("the key was given up under work that runs")
				}
				finished = true
			}) {
				t.Error("work was refused")
			}
			return nil
		})
		if err != nil || !finished {
			t.Errorf("Run: %v, finished %v", err, finished)
		}
	})
}

func TestConfirmAsksTheStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		mine := newPeer(t, store)
		var renewals atomic.Int32
		h := &hooked{Backend: mine}
		h.renew = func(ctx context.Context, next func(context.Context) (backend.Grant, error)) (backend.Grant, error) {
			renewals.Add(1)
			time.Sleep(10 * time.Millisecond)
			return next(ctx)
		}
		e := newElection(t, h, "a")
		d := standFor(t, e, nil)
		until(t, "a leads", leads(e))
		term := e.Term()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if err := term.Confirm(t.Context()); err != nil {
					t.Errorf("Confirm: %v", err)
				}
			})
		}
		wg.Wait()
		if n := renewals.Load(); n > 2 {
			t.Errorf("%d requests for 50 who asked at once", n)
		}
		mine.Fail(1, errTest)
		if err := term.Confirm(t.Context()); !errors.Is(err, errTest) || !term.Valid() {
			t.Errorf("Confirm in trouble: %v, valid %v", err, term.Valid())
		}
		mine.Cut()
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errTest)
		defer cancel()
		if err := term.Confirm(ctx); !errors.Is(err, errTest) {
			t.Errorf("Confirm under a short context: %v", err)
		}
		mine.Heal()
		store.Expire(testKey) // silently: only asking tells
		if err := term.Confirm(t.Context()); !errors.Is(err, ErrLost) || term.Valid() {
			t.Errorf("Confirm of a lost term: %v, valid %v", err, term.Valid())
		}
		if err := term.Confirm(t.Context()); !errors.Is(err, ErrNotLeading) {
			t.Errorf("Confirm of a term that is over: %v", err)
		}
		d.stop()
	})
}

// TestSteppingDownHasOneOrder records what happens when, for every cause.
func TestSteppingDownHasOneOrder(t *testing.T) {
	for name, cause := range map[string]func(e *Election[string], d *diary, depose func()){
		"resign": func(e *Election[string], _ *diary, _ func()) { e.Resign() },
		"stop":   func(_ *Election[string], d *diary, _ func()) { d.cancel(errTest) },
		"lost":   func(_ *Election[string], _ *diary, depose func()) { depose() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := newStore(t)
				var mu sync.Mutex
				var order []string
				note := func(s string) { mu.Lock(); order = append(order, s); mu.Unlock() }
				var term *Term
				h := &hooked{Backend: store, resign: func(ctx context.Context, next func(context.Context) error) error {
					if term.Valid() {
						t.Error("released a term that is still valid")
					}
					note("release")
					return next(ctx)
				}}
				e := newElection(t, h, "a")
				begun := make(chan struct{})
				d := standFor(t, e, func(ev Event[string]) bool {
					if ev.State == StateLeader && term == nil {
						term = ev.Term
						close(begun)
						<-ev.Context().Done()
						note("told")
						time.Sleep(time.Second)
						if lost := name == "lost"; ev.Term.Valid() == lost {
							t.Errorf("valid %v while draining", ev.Term.Valid())
						}
						note("work returned")
					}
					return true
				})
				<-begun
				cause(e, d, func() { store.Depose(testKey) })
				time.Sleep(time.Second + time.Millisecond)
				synctest.Wait()
				d.stop()
				mu.Lock()
				defer mu.Unlock()
				want := "told, work returned, release"
				if name == "lost" {
					want = "told, work returned"
					if len(order) > 2 {
						order = order[:2] // the release of the next term
					}
				}
				if got := strings.Join(order, ", "); got != want {
					t.Errorf("%s, want %s", got, want)
				}
			})
		})
	}
}
