package election

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// What can cross stepping down: by wish, by loss, by a panic, with work that is in no hurry.

func TestLostWhileDraining(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		other := newPeer(t, store)
		var resigned atomic.Int32
		h := &hooked{Backend: store, resign: func(ctx context.Context, next func(context.Context) error) error {
			resigned.Add(1)
			return next(ctx)
		}}
		e := newElection(t, h, "a")
		b := newElection(t, other, "b")
		waiting := make(chan struct{})
		d := standFor(t, e, func(ev Event[string]) bool {
			if ev.State == StateLeader {
				<-waiting
				e.Resign()
				<-ev.Context().Done()
				if !ev.Term.Valid() {
					t.Error("told to stop, and not valid any more, with the lease alive")
				}
				store.Depose(testKey)
				time.Sleep(time.Millisecond)
				if ev.Term.Valid() || !b.Term().Valid() {
					t.Error("the store gave the key from a to b, but a or b does not know")
				}
			}
			return true
		})
		until(t, "a leads", leads(e))
		db := standFor(t, b, nil)
		synctest.Wait()
		close(waiting)
		until(t, "a resigned", func() bool { return d.last().State == StateResigned })
		if n := resigned.Load(); n != 0 {
			t.Errorf("a lost key was resigned %d times", n)
		}
		d.stop()
		if got := holder(t, store); got != "b#2" {
			t.Errorf("b was evicted: %q", got)
		}
		db.stop()
	})
}

func TestResignWhileCampaigning(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		a, b := newElection(t, store, "a"), newElection(t, newPeer(t, store), "b")
		c := newElection(t, newPeer(t, store), "c")
		da := standFor(t, a, nil)
		until(t, "a leads", leads(a))
		db := standFor(t, b, nil)
		synctest.Wait()
		dc := standFor(t, c, nil)
		synctest.Wait()
		b.Resign() // out of the queue: c is before b now
		synctest.Wait()
		if got := db.last(); got.State != StateResigned || !errors.Is(got.Err, ErrResigned) {
			t.Errorf("b saw %v %v", got.State, got.Err)
		}
		da.stop()
		until(t, "c leads", leads(c))
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if got := db.last(); got.State != StateCampaigning || got.Leader.Value != "c" {
			t.Errorf("b after its pause: %v, leader %q", got.State, got.Leader.Value)
		}
		dc.stop()
		until(t, "b leads", leads(b))
		db.stop()
	})
}

func TestResignWhileErrored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		var healed atomic.Bool
		h := &hooked{Backend: store, campaign: func(ctx context.Context, next func(context.Context) (backend.Lease, error)) (backend.Lease, error) {
			if healed.Load() {
				return next(ctx)
			}
			return nil, errTest
		}}
		e := newElection(t, h, "a")
		d := standFor(t, e, nil)
		until(t, "trouble", func() bool { return d.last().State == StateErrored })
		e.Resign()
		synctest.Wait()
		if d.last().State != StateResigned {
			t.Fatalf("saw %s", d)
		}
		at := time.Now()
		healed.Store(true)
		until(t, "a leads", leads(e))
		if waited := time.Since(at); waited < 5*time.Second {
			t.Errorf("stood again after %v, the pause is 5 s", waited)
		}
		d.stop()
	})
}

func TestResignInsideTheBodyAndInsideLead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		e := newElection(t, store, "a")
		terms := 0
		for ev := range e.Events(t.Context()) {
			if ev.State == StateLeader {
				if terms++; terms == 3 {
					break
				}
				e.Resign()
				<-ev.Context().Done()
				if !errors.Is(context.Cause(ev.Context()), ErrResigned) {
					t.Errorf("cause: %v", context.Cause(ev.Context()))
				}
			}
		}
		err := e.Run(t.Context(), func(ctx context.Context, term *Term) error {
			if terms++; terms == 6 {
				return errTest
			}
			e.Resign()
			<-ctx.Done()
			return nil // of a term told to stop: it changes nothing
		})
		if !errors.Is(err, errTest) || terms != 6 {
			t.Errorf("Run: %v after %d terms", err, terms)
		}
		if got := holder(t, store); got != "" {
			t.Errorf("left behind: %s", got)
		}
	})
}

func TestLeadReturnsAsTheLeaseIsLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		var lost atomic.Bool
		release := make(chan struct{})
		h := &hooked{Backend: store}
		h.wait = func(ctx context.Context, next func(context.Context) error) error {
			if lost.Load() {
				return next(ctx)
			}
			<-release
			lost.Store(true)
			return backend.ErrLost
		}
		e := newElection(t, h, "a")
		calls := 0
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		err := e.Run(ctx, func(ctx context.Context, _ *Term) error {
			if calls++; calls == 1 {
				store.Depose(testKey)
				close(release) // the loss is told
				<-ctx.Done()   // and heard
				return nil     // too late to count as "the work is done"
			}
			cancel()
			<-ctx.Done()
			return errTest
		})
		if calls != 2 || !errors.Is(err, errTest) {
			t.Errorf("%d calls, %v; the second term was to end with lead's own error", calls, err)
		}
	})
}

func TestPanicInLeadWithTheStoreUnreachable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		mine := newPeer(t, store)
		var tries atomic.Int32
		h := &hooked{Backend: mine, resign: func(ctx context.Context, next func(context.Context) error) error {
			tries.Add(1)
			return next(ctx)
		}}
		e := newElection(t, h, "a")
		start := time.Now()
		func() {
			defer func() {
				if r := recover(); r != "boom" {
					t.Errorf("recovered %v", r)
				}
			}()
			_ = e.Run(t.Context(), func(context.Context, *Term) error {
				mine.Cut()
				panic("boom")
			})
		}()
		if n := tries.Load(); n != 1 {
			t.Errorf("%d tries to release, want one", n)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("the panic was held up for %v", took)
		}
		if e.Term().Valid() {
			t.Error("valid after a panic")
		}
		mine.Heal()
	})
}

func TestPanicInTheBodyPassesAndReleases(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		e := newElection(t, store, "a")
		func() {
			defer func() {
				if r := recover(); r != "boom" {
					t.Errorf("recovered %v", r)
				}
			}()
			for ev := range e.Events(t.Context()) {
				if ev.State == StateLeader {
					panic("boom")
				}
			}
		}()
		if got := holder(t, store); got != "" {
			t.Errorf("left behind: %s", got)
		}
	})
}

func TestABodyStuckAfterItsContextEnded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		other := newPeer(t, store)
		e, b := newElection(t, store, "a"), newElection(t, other, "b")
		stuck := make(chan struct{})
		d := standFor(t, e, func(ev Event[string]) bool {
			if ev.State == StateLeader {
				<-stuck
			}
			return true
		})
		until(t, "a leads", leads(e))
		term := e.Term()
		db := standFor(t, b, nil)
		e.Resign()
		time.Sleep(29 * time.Second)
		synctest.Wait()
		if !term.Valid() || b.Term().Valid() {
			t.Error("the lease of work that still runs was not kept up to the drain limit")
		}
		until(t, "b leads", leads(b)) // by expiry: nothing was released under the work
		if term.Valid() {
			t.Error("two valid terms")
		}
		close(stuck)
		synctest.Wait()
		if got := holder(t, store); got != "b#2" {
			t.Errorf("the late release evicted b: %q", got)
		}
		db.stop()
		d.stop()
	})
}

func TestCloseUnderALeader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		mine := newPeer(t, store)
		e := newElection(t, mine, "a")
		d := standFor(t, e, func(ev Event[string]) bool {
			if ev.State == StateLeader {
				<-ev.Context().Done()
				if !errors.Is(context.Cause(ev.Context()), backend.ErrClosed) || !ev.Term.Valid() {
					t.Errorf("cause %v, valid %v", context.Cause(ev.Context()), ev.Term.Valid())
				}
				time.Sleep(30 * time.Second) // the lease is renewed under work that finishes its last write
				if !ev.Term.Valid() {
					t.Error("the lease of a closed backend was not kept for the work")
				}
			}
			return true
		})
		until(t, "a leads", leads(e))
		if err := mine.Close(); err != nil {
			t.Error(err)
		}
		<-d.left
		last := d.last()
		if last.State != StateErrored || !errors.Is(last.Err, backend.ErrClosed) || last.RetryIn != 0 {
			t.Errorf("last event: %+v", last)
		}
		if got := holder(t, store); got != "" {
			t.Errorf("left behind: %s", got)
		}
	})
}
