package election

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/retry"
)

// What the store may answer, and what becomes of it.

// refusing answers every Campaign with an error, and every Observe too where one is set for it.
type refusing struct {
	backend.Backend
	err     func(n int) error
	observe error
	n       atomic.Int64
}

func (r *refusing) Campaign(ctx context.Context, key string, value []byte) (backend.Lease, error) {
	if err := r.err(int(r.n.Add(1))); err != nil {
		return nil, err
	}
	return r.Backend.Campaign(ctx, key, value)
}

func (r *refusing) Observe(ctx context.Context, key string) iter.Seq2[backend.Leader, error] {
	if r.observe == nil {
		return r.Backend.Observe(ctx, key)
	}
	return func(yield func(backend.Leader, error) bool) { yield(backend.Leader{}, r.observe) }
}

func TestAPermanentErrorEndsTheLoopAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &refusing{Backend: newStore(t), err: func(int) error { return retry.Permanent(errTest) }}
		start := time.Now()
		err := newElection(t, r, "a").Run(t.Context(), func(context.Context, *Term) error { return nil })
		if !errors.Is(err, errTest) || r.n.Load() != 1 || time.Since(start) != 0 {
			t.Errorf("%v after %d tries and %v", err, r.n.Load(), time.Since(start))
		}
	})
}

func TestARefusalEndsTheLoopOnlyAfterThreeAnswersOneTTLApart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		denied := fmt.Errorf("store: %w", backend.ErrDenied)
		r := &refusing{Backend: newStore(t), err: func(int) error { return denied }}
		e := newElection(t, r, "a")
		start := time.Now()
		d := standFor(t, e, nil)
		<-d.left
		if took := time.Since(start); took < 2*testTTL || took > 3*testTTL {
			t.Errorf("ended after %v, want two TTLs and a little", took)
		}
		if last := d.last(); last.State != StateErrored || last.RetryIn != 0 || !errors.Is(last.Err, backend.ErrDenied) {
			t.Errorf("last event: %+v", last)
		}
		d.cancel(nil)
		// Rights that are granted in time are all that was missing.
		r = &refusing{Backend: newStore(t), err: func(int) error {
			if time.Since(start) < 2*testTTL+testTTL {
				return denied
			}
			return nil
		}}
		start = time.Now().Add(-testTTL - testTTL/2)
		e = newElection(t, r, "a")
		d = standFor(t, e, nil)
		until(t, "a leads", leads(e))
		d.stop()
	})
}

func TestARetryLimitEndsTheLoop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &refusing{Backend: newStore(t), err: func(int) error { return errTest }}
		e := newElection(t, r, "a", WithRetry(retry.Policy{Limit: 4}))
		d := standFor(t, e, nil)
		<-d.left
		if n := r.n.Load(); n != 5 {
			t.Errorf("%d tries, want the first and four more", n)
		}
		for i, ev := range d.all() {
			if ev.State == StateErrored && (ev.RetryIn == 0) != (i == len(d.all())-1) {
				t.Errorf("event %d: next try in %v", i, ev.RetryIn)
			}
		}
		d.cancel(nil)
	})
}

func TestPausesGrowUpToAThirdOfTheTTL(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &refusing{Backend: newStore(t), err: func(int) error { return errTest }}
		e := newElection(t, r, "a", func(o *options) { o.random = func() float64 { return 0.999999 } })
		d := standFor(t, e, nil)
		time.Sleep(time.Minute)
		d.stop()
		var pauses []time.Duration
		for _, ev := range d.all() {
			if ev.State == StateErrored {
				pauses = append(pauses, ev.RetryIn.Round(time.Millisecond))
			}
		}
		want := []time.Duration{50, 100, 200, 400, 800, 1600, 3200, 5000, 5000}
		for i, w := range want {
			if pauses[i] != w*time.Millisecond {
				t.Fatalf("pauses %v", pauses)
			}
		}
	})
}

func TestAPermanentErrorWhileLeadingDoesNotShortenTheTerm(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n atomic.Int32
		h := &hooked{Backend: newStore(t)}
		h.renew = func(context.Context, func(context.Context) (backend.Grant, error)) (backend.Grant, error) {
			n.Add(1)
			return backend.Grant{}, retry.Permanent(errTest)
		}
		start := time.Now()
		err := newElection(t, h, "a").Run(t.Context(), func(ctx context.Context, term *Term) error {
			<-ctx.Done()
			if took := time.Since(start); took < 10*time.Second || !term.Valid() {
				t.Errorf("told to stop after %v, valid %v", took, term.Valid())
			}
			if !errors.Is(context.Cause(ctx), ErrExpired) || !errors.Is(context.Cause(ctx), errTest) {
				t.Errorf("cause: %v", context.Cause(ctx))
			}
			return nil
		})
		if !errors.Is(err, errTest) || n.Load() < 3 {
			t.Errorf("Run: %v after %d renewals", err, n.Load())
		}
	})
}

func TestOneHungCallCostsOneAttempt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n atomic.Int32
		h := &hooked{Backend: newStore(t)}
		h.renew = func(ctx context.Context, next func(context.Context) (backend.Grant, error)) (backend.Grant, error) {
			if n.Add(1)%3 != 0 { // two of three hang
				<-ctx.Done()
				return backend.Grant{}, ctx.Err()
			}
			return next(ctx)
		}
		e := newElection(t, h, "a")
		d := standFor(t, e, nil)
		until(t, "a leads", leads(e))
		time.Sleep(5 * time.Minute)
		if e.Term().Token() != 1 {
			t.Errorf("hung calls ended a term: %s", d)
		}
		d.stop()
	})
}

func TestAnUnreachableStoreIsToldAndTheReleaseIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		mine := newPeer(t, store)
		e := newElection(t, mine, "a")
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			time.Sleep(time.Second)
			mine.Cut()
			cancel(errTest)
		}()
		start := time.Now()
		err := e.Run(ctx, func(ctx context.Context, _ *Term) error { <-ctx.Done(); return ctx.Err() })
		if took := time.Since(start); took > 7*time.Second {
			t.Errorf("left after %v", took)
		}
		if !errors.Is(err, errTest) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run: %v; want the cause, and the release that did not get through", err)
		}
		time.Sleep(testTTL)
		if got := holder(t, store); got != "" {
			t.Errorf("not expired: %s", got)
		}
		mine.Heal()
	})
}

func TestAWatchThatBreaksIsReplacedAndTheTermDoubted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		var waits, renewals atomic.Int32
		h := &hooked{Backend: store}
		h.wait = func(ctx context.Context, next func(context.Context) error) error {
			if waits.Add(1) == 1 {
				time.Sleep(time.Second)
				return errTest
			}
			return next(ctx)
		}
		h.renew = func(ctx context.Context, next func(context.Context) (backend.Grant, error)) (backend.Grant, error) {
			renewals.Add(1)
			return next(ctx)
		}
		e := newElection(t, h, "a")
		d := standFor(t, e, nil)
		until(t, "a leads", leads(e))
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		if n := renewals.Load(); n != 1 {
			t.Errorf("%d renewals after the watch broke, want one at once", n)
		}
		until(t, "another watch", func() bool { return waits.Load() == 2 })
		store.Depose(testKey)
		until(t, "the loss is told", func() bool { return e.Term().Token() == 2 })
		d.stop()
	})
}

func TestObservationThatFailsDoesNotKeepACandidateFromStanding(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		other := newElection(t, newPeer(t, store), "b")
		db := standFor(t, other, nil)
		until(t, "b leads", leads(other))
		r := &refusing{Backend: store, err: func(int) error { return nil }, observe: errTest}
		e := newElection(t, r, "a")
		d := standFor(t, e, nil)
		synctest.Wait()
		if first := d.last(); first.State != StateCampaigning || !errors.Is(first.Err, errTest) {
			t.Errorf("first event: %+v", first)
		}
		db.stop()
		until(t, "a leads", leads(e))
		d.stop()
	})
}

func TestAStaleWinIsGivenBack(t *testing.T) {
	b := newBench(t)
	b.do(0, fact{kind: factStart})
	b.do(0, fact{kind: factWon, seq: 99, token: 4, grant: b.granted(0)})
	b.want(phaseCampaigning, "discard")
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		o := newOptions([]Option{quiet()})
		r, err := o.settle(testTTL)
		if err != nil {
			t.Fatal(err)
		}
		d := newDriver(t.Context(), store, testKey, nil, o, r, &hub{})
		l, err := store.Campaign(t.Context(), testKey, []byte("stale"))
		if err != nil {
			t.Fatal(err)
		}
		d.step(message{fact: fact{kind: factWon, seq: 99, token: l.Token(), grant: l.Grant()}, lease: l})
		_ = d.group.Wait()
		if got := holder(t, store); got != "" {
			t.Errorf("kept: %s", got)
		}
	})
}

func TestObserveFollowsThroughACut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		mine := newPeer(t, store)
		ctx, cancel := context.WithCancel(t.Context())
		var saw []string
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for l, err := range Observe[string](ctx, mine, testKey, quiet()) {
				w := l.Value
				if l.Vacant() {
					w = "-"
				}
				if err != nil {
					w += "!"
				}
				saw = append(saw, w)
			}
		}()
		e := newElection(t, store, "a")
		synctest.Wait()
		d := standFor(t, e, nil)
		until(t, "a leads", leads(e))
		synctest.Wait()
		mine.Cut()
		time.Sleep(time.Second)
		mine.Heal()
		if err := e.Proclaim(t.Context(), "a2"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		d.stop()
		synctest.Wait()
		cancel()
		<-ended
		if got := strings.Join(saw, " "); got != "- a a2 -" {
			t.Errorf("saw %s", got)
		}
	})
}

// scripted yields a fixed course of leaders and errors, one course a call.
type scripted struct {
	backend.Backend
	courses [][]any
	n       int
}

func (s *scripted) Observe(ctx context.Context, _ string) iter.Seq2[backend.Leader, error] {
	return func(yield func(backend.Leader, error) bool) {
		if s.n >= len(s.courses) {
			<-ctx.Done()
			return
		}
		course := s.courses[s.n]
		s.n++
		for _, step := range course {
			switch v := step.(type) {
			case uint64:
				if !yield(backend.Leader{Token: v, Value: fmt.Append(nil, v)}, nil) {
					return
				}
			case error:
				yield(backend.Leader{}, v)
				return
			}
		}
	}
}

func TestWhatObserveMakesOfAStoresAnswers(t *testing.T) {
	denied := fmt.Errorf("store: %w", backend.ErrDenied)
	for _, tt := range []struct {
		name    string
		courses [][]any
		want    string
	}{
		{"trouble in between", [][]any{{uint64(3), errTest}, {uint64(3), uint64(4)}, {retry.Permanent(errTest)}}, "3 3! 3 4 4! 4!"},
		{"an old record after a reconnection", [][]any{{uint64(3), uint64(0), errTest}, {uint64(2), uint64(5), retry.Permanent(errTest)}}, "3 0 0! 5 5!"},
		{"closed", [][]any{{uint64(3), backend.ErrClosed}}, "3 3!"},
		{"refused for good", slices.Repeat([][]any{{denied}}, 1000), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := &scripted{Backend: newStore(t), courses: tt.courses}
				var saw []string
				start := time.Now()
				for l, err := range Observe[string](t.Context(), s, testKey, quiet()) {
					w := fmt.Sprint(l.Token)
					if err != nil {
						w += "!"
					}
					saw = append(saw, w)
				}
				if got := strings.Join(saw, " "); tt.want != "" && got != tt.want {
					t.Errorf("saw %s, want %s", got, tt.want)
				}
				if took := time.Since(start); tt.want == "" && (took < 2*testTTL || took > 3*testTTL) {
					t.Errorf("ended after %v", took)
				}
			})
		})
	}
}

func TestCurrentNeverShowsATermThatIsOver(t *testing.T) {
	e := newElection(t, newStore(t), "a")
	if got := e.Current(); got.State != StateIdle || got.Context() == nil || got.Context().Err() != nil || e.Term() != nil {
		t.Errorf("before anything: %+v", got)
	}
	for name, over := range map[string]func(*clocks, *Term){
		"by the clock": func(c *clocks, _ *Term) { c.move(time.Minute, time.Minute, 0) },
		"told to stop": func(_ *clocks, term *Term) { term.cancel(ErrExpired) },
	} {
		c := &clocks{wall: 1000 * time.Hour}
		term := termOn(t, c)
		e.hub.publish(record{state: StateLeader, term: term, ctx: term.ctx, leader: leader{Value: []byte("a"), Token: 7}})
		if got := e.Current(); got.State != StateLeader || got.Leader.Value != "a" || e.Term() != term {
			t.Errorf("%s: while leading: %+v", name, got)
		}
		over(c, term)
		if got := e.Current(); got.State != StateErrored || got.Term != nil || !errors.Is(got.Err, ErrExpired) || e.Term() != nil {
			t.Errorf("%s: when over: %+v", name, got)
		}
	}
}

// A candidate that resigns now and then runs one campaign for months.
func TestALeaseThatIsOverIsLetGo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		var lease weak.Pointer[hookedLease]
		h := &hooked{Backend: store, campaign: func(ctx context.Context, next func(context.Context) (backend.Lease, error)) (backend.Lease, error) {
			l, err := next(ctx)
			if l, ok := l.(*hookedLease); ok {
				lease = weak.Make(l)
			}
			return l, err
		}}
		e := newElection(t, h, "a")
		d := standFor(t, e, nil)
		until(t, "a leads", leads(e))
		e.Resign()
		until(t, "a rests", func() bool { return d.last().State == StateResigned })
		synctest.Wait()
		runtime.GC()
		if lease.Value() != nil {
			t.Error("the lease of a term that was given up is still held in memory")
		}
		d.stop()
	})
}
