package election

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// What can cross what. Each test puts two or more things at one moment of virtual time.

func TestContextEndsWhileCampaignReturnsALease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		won := make(chan struct{})
		h := &hooked{Backend: store}
		h.campaign = func(ctx context.Context, next func(context.Context) (backend.Lease, error)) (backend.Lease, error) {
			l, err := next(ctx)
			close(won)   // the caller leaves just as the key is won
			<-ctx.Done() // and the driver withdraws before it hears of the win
			return l, err
		}
		e := newElection(t, h, "a")
		d := standFor(t, e, nil)
		<-won
		d.stop()
		if got := holder(t, store); got != "" {
			t.Errorf("the win was kept: %s", got)
		}
		if strings.Contains(d.String(), "leader") {
			t.Errorf("a withdrawn candidate was told that it leads: %s", d)
		}
	})
}

func TestAWinAfterSoftIsReleased(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		first := true
		h := &hooked{Backend: store}
		h.campaign = func(ctx context.Context, next func(context.Context) (backend.Lease, error)) (backend.Lease, error) {
			l, err := next(ctx)
			if first {
				first = false
				time.Sleep(11 * time.Second) // the answer is late; the lease still lives in the store
			}
			return l, err
		}
		e := newElection(t, h, "a")
		d := standFor(t, e, nil)
		until(t, "a leads", leads(e))
		if got := e.Term().Token(); got != 2 {
			t.Errorf("leads with token %d, must be of a second win", got)
		}
		d.stop()
		d.want(t, "errored campaigning leader resigned")
	})
}

func TestAWinAfterHalfOfSoftIsRenewedBeforeItIsAnnounced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		renewed := false
		h := &hooked{Backend: store}
		h.campaign = func(ctx context.Context, next func(context.Context) (backend.Lease, error)) (backend.Lease, error) {
			l, err := next(ctx)
			time.Sleep(7 * time.Second)
			return l, err
		}
		h.renew = func(ctx context.Context, next func(context.Context) (backend.Grant, error)) (backend.Grant, error) {
			renewed = true
			return next(ctx)
		}
		e := newElection(t, h, "a")
		d := standFor(t, e, func(ev Event[string]) bool {
			if ev.State == StateLeader && (!renewed || time.Until(ev.Term.Deadline()) < 13*time.Second) {
				t.Errorf("announced with %v left", time.Until(ev.Term.Deadline()))
			}
			return true
		})
		until(t, "a leads", leads(e))
		d.stop()
	})
}

func TestSoftPassesWithARenewalInFlightThatThenSucceeds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		var slow atomic.Bool
		h := &hooked{Backend: store}
		h.renew = func(ctx context.Context, next func(context.Context) (backend.Grant, error)) (backend.Grant, error) {
			if slow.Load() {
				time.Sleep(6 * time.Second) // longer than allowed, and past soft; then it works
				return next(context.WithoutCancel(ctx))
			}
			return next(ctx)
		}
		e := newElection(t, h, "a")
		var after atomic.Int64
		d := standFor(t, e, func(ev Event[string]) bool {
			if ev.State == StateLeader && ev.Term.Token() == 1 {
				slow.Store(true)
				<-ev.Context().Done()
				if !errors.Is(context.Cause(ev.Context()), ErrExpired) {
					t.Errorf("cause: %v", context.Cause(ev.Context()))
				}
				time.Sleep(4 * time.Second) // past the first hard deadline, with the renewal's answer in between
				if !ev.Term.Valid() {
					t.Error("a lease renewed under draining work is not valid")
				}
				if ev.Context().Err() == nil {
					t.Error("the context was revived")
				}
				slow.Store(false)
				after.Store(int64(ev.Term.Token()))
			}
			return true
		})
		until(t, "the second term", func() bool { return after.Load() == 1 && e.Term().Token() == 2 })
		d.cancel(errTest)
		<-d.left
		d.want(t, "leader errored campaigning leader resigned")
	})
}

func TestASecondEventsInsideTheFirstsBody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		e := newElection(t, store, "a")
		for ev := range e.Events(t.Context()) {
			if ev.State != StateLeader {
				continue
			}
			n := 0
			for inner := range e.Events(t.Context()) {
				n++
				if inner.State != StateErrored || !errors.Is(inner.Err, ErrRunning) || inner.RetryIn != 0 {
					t.Errorf("inner event: %+v", inner)
				}
			}
			if err := e.Run(t.Context(), func(context.Context, *Term) error { return nil }); n != 1 || !errors.Is(err, ErrRunning) {
				t.Errorf("%d inner events, Run: %v", n, err)
			}
			if !ev.Term.Valid() {
				t.Error("the inner loop disturbed the outer")
			}
			break
		}
		// And again, when the first has ended.
		for ev := range e.Events(t.Context()) {
			if ev.State == StateLeader {
				break
			}
		}
	})
}

func TestWatchWithNoCampaign(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		e := newElection(t, store, "a")
		w := watchFor(t, e, nil)
		synctest.Wait()
		w.want(t, "idle")
		calls := store.Calls()
		time.Sleep(time.Hour)
		if got := store.Calls(); got != calls {
			t.Errorf("%d store calls of a listener without a campaign", got-calls)
		}
		for range 2 { // it survives campaigns
			d := standFor(t, e, nil)
			until(t, "a leads", leads(e))
			d.stop()
		}
		synctest.Wait()
		w.stop()
		if got := strings.Count(w.String(), "leader:a"); got != 2 {
			t.Errorf("saw %d terms: %s", got, w)
		}
	})
}

func TestProclaimRacesWithLoss(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		h := &hooked{Backend: store}
		h.proclaim = func(ctx context.Context, next func(context.Context) error) error {
			store.Depose(testKey) // the loss is on its way while the call is
			return next(ctx)
		}
		e := newElection(t, h, "a")
		d := standFor(t, e, nil)
		until(t, "a leads", leads(e))
		if err := e.Proclaim(t.Context(), "a2"); !errors.Is(err, ErrLost) {
			t.Errorf("Proclaim: %v", err)
		}
		h.proclaim = nil
		until(t, "a leads again", func() bool { return e.Term().Token() == 2 })
		if got := holder(t, store); got != "a#2" {
			t.Errorf("announced %q", got)
		}
		if err := e.Proclaim(t.Context(), "a2"); err != nil {
			t.Error(err)
		}
		if got := e.Current().Leader.Value; got != "a2" {
			t.Errorf("Current tells %q", got)
		}
		store.Depose(testKey)
		until(t, "a leads a third time", func() bool { return e.Term().Token() == 3 })
		if got := holder(t, store); got != "a2#3" {
			t.Errorf("a value proclaimed before was not kept: %q", got)
		}
		d.stop()
		if err := e.Proclaim(t.Context(), "a3"); !errors.Is(err, ErrNotLeading) {
			t.Errorf("Proclaim with no term: %v", err)
		}
	})
}

func TestTwoElectionsOfOneKeyOnOneBackend(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		a, b := newElection(t, store, "a"), newElection(t, store, "b")
		da := standFor(t, a, nil)
		until(t, "a leads", leads(a))
		db := standFor(t, b, nil)
		until(t, "b is refused", func() bool { return errors.Is(db.last().Err, backend.ErrBusy) })
		if db.last().RetryIn == 0 {
			t.Error("no further try")
		}
		da.stop()
		until(t, "b leads", leads(b))
		db.stop()
	})
}

func TestWakingAfterASuspendWithEverythingPending(t *testing.T) {
	for _, order := range [][]factKind{
		{factRenewed, factLost, factTick}, {factLost, factRenewed, factTick}, {factTick, factRenewed, factLost},
	} {
		b := newBench(t)
		leading(b)
		b.do(6*time.Second, fact{kind: factTick}) // a renewal is under way
		call, wait := b.m.call, b.m.wait
		reply := fact{kind: factRenewed, seq: call, grant: b.granted(0)}
		// The machine sleeps: the monotonic clock stands still, the others go on.
		b.slept += time.Hour
		for i, k := range order {
			f := fact{kind: k, err: ErrLost}
			switch k {
			case factRenewed:
				f = reply
			case factLost:
				f.seq = wait
			default:
			}
			b.do(0, f)
			if i == 0 {
				kinds := b.kinds()
				if b.m.phase != phaseDraining || !strings.Contains(kinds, "cancel publish(errored) await") || b.find(effectOver) == nil {
					t.Errorf("%v: waking led to %s with %s", order, phaseNames[b.m.phase], kinds)
				}
			}
			if b.find(effectInstall) != nil {
				t.Errorf("%v: a term that is over was extended", order)
			}
		}
		if b.m.then != thenBackOff && b.m.then != thenCampaign {
			t.Errorf("%v: goes on with %v", order, b.m.then)
		}
	}
}
