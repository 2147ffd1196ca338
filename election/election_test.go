package election

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestOneCandidateLeadsAndLeaves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		e := newElection(t, store, "a")
		d := standFor(t, e, nil)
		until(t, "a leads", leads(e))
		if got := holder(t, store); got != "a#1" {
			t.Errorf("the store says %q", got)
		}
		d.stop()
		if got := holder(t, store); got != "" {
			t.Errorf("left behind: %q", got)
		}
		last := d.last()
		if last.State != StateResigned || last.Previous != StateLeader || !errors.Is(last.Err, errTest) {
			t.Errorf("last event: %+v", last)
		}
		if e.Term().Valid() || e.Current().State != StateResigned {
			t.Error("still leading after the loop")
		}
	})
}

func TestLeadershipPassesThroughAllEvents(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		a, b := newElection(t, store, "a"), newElection(t, newPeer(t, store), "b")
		da := standFor(t, a, nil)
		until(t, "a leads", leads(a))
		db := standFor(t, b, nil)
		synctest.Wait()
		store.Depose(testKey)
		until(t, "b leads", leads(b))
		until(t, "a sees b", func() bool { return da.last().Leader.Value == "b" })
		b.Resign()
		until(t, "a leads again", leads(a))
		db.stop()
		da.stop()
		t.Log(da)
		t.Log(db)
		for i, ev := range da.all() {
			if ev.State == StateLeader && ev.Term.Token() != ev.Leader.Token {
				t.Errorf("event %d: term %d, leader %d", i, ev.Term.Token(), ev.Leader.Token)
			}
		}
	})
}

func TestRunLeadsAgainAfterLossAndEndsWithItsWork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		e := newElection(t, store, "a")
		var tokens []uint64
		err := e.Run(t.Context(), func(ctx context.Context, term *Term) error {
			tokens = append(tokens, term.Token())
			if len(tokens) == 3 {
				return nil
			}
			if TermFrom(ctx) != term || !term.Valid() {
				t.Error("the context does not carry a valid term")
			}
			store.Depose(testKey)
			<-ctx.Done()
			if term.Valid() || !errors.Is(context.Cause(ctx), ErrLost) {
				t.Errorf("valid %v after the cause %v", term.Valid(), context.Cause(ctx))
			}
			return ctx.Err()
		})
		if err != nil || len(tokens) != 3 {
			t.Errorf("Run: %v, tokens %v", err, tokens)
		}
		if got := holder(t, store); got != "" {
			t.Errorf("left behind: %q", got)
		}
	})
}

func TestOutageEndsTheTermOnTimeAndIsRiddenOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		mine := newPeer(t, store)
		e := newElection(t, mine, "a")
		d := standFor(t, e, nil)
		until(t, "a leads", leads(e))
		term := e.Term()
		mine.Cut()
		start := time.Now()
		<-term.ctx.Done()
		if soft := time.Since(start); soft > 11*time.Second {
			t.Errorf("told to stop after %v", soft)
		}
		until(t, "the term is over", func() bool { return !term.Valid() })
		if hard := time.Since(start); hard > 13500*time.Millisecond+20*time.Millisecond {
			t.Errorf("over after %v", hard)
		}
		time.Sleep(time.Minute)
		mine.Heal()
		until(t, "a leads again", leads(e))
		d.stop()
		t.Log(d)
	})
}

func TestRunReturnsTheContextsErrorAndItsCause(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newElection(t, newStore(t), "a")
		ctx, cancel := context.WithCancelCause(t.Context())
		err := e.Run(ctx, func(ctx context.Context, _ *Term) error {
			cancel(errTest)
			<-ctx.Done()
			return context.Cause(ctx)
		})
		if !errors.Is(err, context.Canceled) || !errors.Is(err, errTest) {
			t.Errorf("Run: %v", err)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		err = e.Run(ctx, func(ctx context.Context, _ *Term) error { <-ctx.Done(); return nil })
		if err != context.DeadlineExceeded { //nolint:errorlint // the very error
			t.Errorf("Run: %v", err)
		}
	})
}
