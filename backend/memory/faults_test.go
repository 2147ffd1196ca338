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

// waiting runs Wait beside the test.
func waiting(t *testing.T, l backend.Lease) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- l.Wait(t.Context()) }()
	synctest.Wait()
	return done
}

func silent(t *testing.T, done <-chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-done:
		t.Fatalf("the call returned %v, must still wait", err)
	default:
	}
}

func TestDeposeTellsTheLeaderAndLetsTheNextWin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		l := win(t, b, "k")
		told, next := waiting(t, l), stand(t.Context(), peer(t, b), "k")
		silent(t, told)
		if !b.Depose("k") {
			t.Fatal("Depose found no leader")
		}
		wantErr(t, "Wait", <-told, backend.ErrLost)
		wantErr(t, "Wait called again", l.Wait(t.Context()), backend.ErrLost)
		if o := now(t, next); o.err != nil {
			t.Fatal(o.err)
		}
		_, err := l.Renew(t.Context())
		wantErr(t, "Renew", err, backend.ErrLost)
		if b.Depose("nobody") {
			t.Fatal("Depose found a leader of a key that nobody uses")
		}
	})
}

func TestExpireDoesNotTellTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		l := win(t, b, "k")
		told, next := waiting(t, l), stand(t.Context(), peer(t, b), "k")
		if !b.Expire("k") || b.Expire("nobody") {
			t.Fatal("Expire must find the leader, and only where there is one")
		}
		if o := now(t, next); o.err != nil {
			t.Fatal(o.err)
		}
		time.Sleep(10 * ttl)
		silent(t, told)
		_, err := l.Renew(t.Context())
		wantErr(t, "Renew", err, backend.ErrLost)
		win(t, b, "k") // the successor has expired as well, and the loss was told: not busy
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		wantErr(t, "Wait", <-told, backend.ErrClosed)
	})
}

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

func TestAWithdrawalThatFailedIsRepeatedByTheNextCampaign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		l := win(t, b, "k")
		p := peer(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		done := stand(ctx, p, "k")
		p.Fail(1, errors.New("no route"))
		cancel()
		wantErr(t, "Campaign", now(t, done).err, context.Canceled)
		again := stand(t.Context(), p, "k") // removes the leftover, and waits in its own right
		if err := l.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		o := now(t, again)
		if o.err != nil || o.lease.Token() != l.Token()+1 {
			t.Fatalf("Campaign after a failed withdrawal: %v, %v; want the very next term", o.lease, o.err)
		}
	})
}

func TestALeftoverExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		l := win(t, b, "k")
		p := peer(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		done := stand(ctx, p, "k")
		p.Cut()
		cancel()
		wantErr(t, "Campaign", now(t, done).err, context.Canceled)
		p.Heal()
		if err := l.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		next := stand(t.Context(), b, "k")
		none(t, next)
		time.Sleep(ttl)
		if o := now(t, next); o.err != nil {
			t.Fatal(o.err)
		}
	})
}

func TestAResignationThatFailedIsRepeatedByTheNextCampaign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		for what, order := range map[string]func(){
			"lost on the way": func() { b.Fail(1, nil) },
			"hung":            func() { b.Hang(1) },
			"answer lost":     func() { b.Lose(1) },
		} {
			l := win(t, b, "k")
			order()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := l.Resign(ctx); err == nil {
				t.Fatalf("%s: Resign returned nil", what)
			}
			cancel()
			again := win(t, b, "k")
			if again.Token() != l.Token()+1 {
				t.Fatalf("%s: token %d after %d", what, again.Token(), l.Token())
			}
			if err := l.Resign(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := again.Renew(t.Context()); err != nil {
				t.Fatalf("%s: the old term's Resign took the new term: %v", what, err)
			}
			if err := again.Resign(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestFailHangAndLose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		l := win(t, b, "k")
		refused := errors.New("refused")
		b.Fail(2, refused)
		b.Hang(1)
		b.Lose(1)
		for range 2 {
			wantErr(t, "failing", l.Proclaim(t.Context(), []byte("failed")), refused)
		}
		short := func(value string) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return l.Proclaim(ctx, []byte(value))
		}
		wantErr(t, "hanging", short("hung"), context.DeadlineExceeded)
		if got := leader(t, b, "k"); string(got.Value) != "value" {
			t.Fatalf("calls that failed and hung left %q in the store", got.Value)
		}
		wantErr(t, "losing", short("lost"), context.DeadlineExceeded)
		if got := leader(t, b, "k"); string(got.Value) != "lost" {
			t.Fatalf("a call whose answer was lost left %q in the store", got.Value)
		}
		if err := short("well"); err != nil {
			t.Fatal(err)
		}
	})
}

func TestACampaignWhoseAnswerWasLostLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		b.Lose(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := b.Campaign(ctx, "k", nil)
		wantErr(t, "Campaign", err, context.DeadlineExceeded)
		if l := leader(t, b, "k"); !l.Vacant() {
			t.Fatalf("the store still has %+v", l)
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
