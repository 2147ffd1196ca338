package memory_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/memory"
)

func TestCallsOfACutSessionHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		l := win(t, b, "k")
		b.Cut()
		b.Cut()
		for what, call := range map[string]func(ctx context.Context) error{
			"Campaign": func(ctx context.Context) error { _, err := b.Campaign(ctx, "other", nil); return err },
			"Renew":    func(ctx context.Context) error { _, err := l.Renew(ctx); return err },
			"Wait":     l.Wait,
			"Proclaim": func(ctx context.Context) error { return l.Proclaim(ctx, nil) },
			"Resign":   l.Resign,
		} {
			ctx, cancel := context.WithTimeout(t.Context(), ttl/10)
			start := time.Now()
			wantErr(t, what, call(ctx), context.DeadlineExceeded)
			if waited := time.Since(start); waited != ttl/10 {
				t.Errorf("%s of a cut session took %v, want %v", what, waited, ttl/10)
			}
			cancel()
		}
		ctx, cancel := context.WithTimeout(t.Context(), ttl/10)
		defer cancel()
		for leader, err := range b.Observe(ctx, "k") {
			t.Errorf("Observe of a cut session yielded %v, %v", leader, err)
		}
		if got := leader(t, b, "k"); got.Token != l.Token() || string(got.Value) != "value" {
			t.Errorf("calls of a cut session changed the store: leader %q, token %d", got.Value, got.Token)
		}
	})
}

func TestHealLetsHungCallsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		l := win(t, b, "k")
		told, next := waiting(t, l), stand(t.Context(), peer(t, b), "k")
		b.Cut()
		renewed := make(chan error, 1)
		go func() { _, err := l.Renew(t.Context()); renewed <- err }()
		time.Sleep(ttl / 2)
		silent(t, renewed)
		b.Cut()
		b.Heal()
		b.Heal()
		if err := <-renewed; err != nil {
			t.Fatal(err)
		}
		time.Sleep(ttl - 1)
		none(t, next)

		b.Cut()
		b.Depose("k")
		silent(t, told)
		b.Heal()
		wantErr(t, "Wait", <-told, backend.ErrLost)
	})
}

func TestACutCandidacyExpiresAndIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, cut := open(t), (*memory.Backend)(nil)
		l := win(t, b, "k")
		cut = peer(t, b)
		first := stand(t.Context(), cut, "k")
		second := stand(t.Context(), peer(t, b), "k")
		cut.Cut()
		time.Sleep(ttl / 2)
		if _, err := l.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(ttl / 2)
		synctest.Wait()
		if err := l.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		if o := now(t, second); o.err != nil {
			t.Fatal(o.err)
		}
		none(t, first)
		cut.Heal()
		if o := now(t, first); o.err == nil || errors.Is(o.err, backend.ErrLost) {
			t.Fatalf("candidacy that expired during a cut: %v, %v; want a passing error", o.lease, o.err)
		}
	})
}

func TestACandidacyThatWinsWhileCutHoldsUntilItsTTLRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		l := win(t, b, "k")
		cut := peer(t, b)
		first := stand(t.Context(), cut, "k")
		second := stand(t.Context(), peer(t, b), "k")
		cut.Cut()
		time.Sleep(ttl / 2)
		if err := l.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		none(t, first)
		time.Sleep(ttl/2 - 1)
		none(t, second)
		time.Sleep(1)
		if o := now(t, second); o.err != nil {
			t.Fatal(o.err)
		}
	})
}

func TestACandidacyThatWinsWhileCutIsHadAfterHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		l := win(t, b, "k")
		cut := peer(t, b)
		first := stand(t.Context(), cut, "k")
		second := stand(t.Context(), peer(t, b), "k")
		cut.Cut()
		time.Sleep(ttl / 2)
		if err := l.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(ttl / 4)
		cut.Heal()
		o := now(t, first)
		if o.err != nil {
			t.Fatal(o.err)
		}
		time.Sleep(ttl - 1)
		none(t, second)
		time.Sleep(1)
		if o := now(t, second); o.err != nil {
			t.Fatal(o.err)
		}
	})
}

func TestACandidacyThatWaitsAfterHealDoesNotExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		l := win(t, b, "k")
		cut := peer(t, b)
		first := stand(t.Context(), cut, "k")
		cut.Cut()
		time.Sleep(ttl / 2)
		cut.Heal()
		for range 10 {
			if _, err := l.Renew(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(ttl / 2)
		}
		if err := l.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		if o := now(t, first); o.err != nil {
			t.Fatal(o.err)
		}
	})
}

func TestCloseTakesLeftoversAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		l := win(t, b, "k")
		b.Fail(1, nil)
		if err := l.Resign(t.Context()); err == nil {
			t.Fatal("Resign returned nil, was ordered to fail")
		}
		next := stand(t.Context(), peer(t, b), "k")
		none(t, next)
		before := b.Calls()
		for range 2 {
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if o := now(t, next); o.err != nil {
			t.Fatal(o.err)
		}
		if n := b.Calls() - before; n != 2 { // Close, and the winner's
			t.Errorf("Close and the win made %d calls, want 2", n)
		}
	})
}

func TestALeaseThatWasCutAndHealedStillExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		win(t, b, "k")
		next := stand(t.Context(), peer(t, b), "k")
		time.Sleep(ttl / 2)
		b.Cut()
		b.Heal()
		time.Sleep(ttl/2 - 1)
		none(t, next)
		time.Sleep(1)
		if o := now(t, next); o.err != nil {
			t.Fatal(o.err)
		}
	})
}

func TestACutObserverSeesNothingUntilHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		cut := peer(t, b)
		seen := make(chan backend.Leader, 10)
		go func() {
			for l, err := range cut.Observe(t.Context(), "k") {
				if err != nil {
					t.Error(err)
				}
				seen <- l
			}
		}()
		synctest.Wait()
		<-seen
		cut.Cut()
		l := win(t, b, "k")
		synctest.Wait()
		if len(seen) != 0 {
			t.Fatalf("a cut session saw %+v", <-seen)
		}
		cut.Heal()
		if got := <-seen; got.Token != l.Token() {
			t.Fatalf("after Heal it saw %+v, want token %d", got, l.Token())
		}
	})
}

func TestCloseOfACutSessionLetsGoAndLeavesTheQueueToTheTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		l := win(t, b, "k")
		p := peer(t, b)
		first := stand(t.Context(), p, "k")
		hung := make(chan outcome, 1)
		p.Cut()
		go func() { l, err := p.Campaign(t.Context(), "other", nil); hung <- outcome{l, err} }()
		synctest.Wait()
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		wantErr(t, "waiting Campaign", now(t, first).err, backend.ErrClosed)
		wantErr(t, "hung Campaign", now(t, hung).err, backend.ErrClosed)
		if err := l.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		if leader(t, b, "k").Vacant() {
			t.Fatal("a session that was cut reached the store")
		}
		time.Sleep(ttl)
		synctest.Wait()
		if !leader(t, b, "k").Vacant() {
			t.Fatal("the candidacy of a closed session outlived its TTL")
		}
	})
}
