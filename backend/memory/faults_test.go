package memory_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hustings-go/hustings/backend"
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

func TestAWithdrawalThatFailedIsNotKeptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		l := win(t, b, "k")
		p := peer(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		done := stand(ctx, p, "k")
		p.Fail(1, nil)
		cancel()
		wantErr(t, "Campaign", now(t, done).err, context.Canceled)
		time.Sleep(ttl / 2)
		if err := l.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		next := stand(t.Context(), b, "k")
		time.Sleep(ttl/2 - 1)
		none(t, next)
		time.Sleep(1)
		o := now(t, next)
		if o.err != nil {
			t.Fatal(o.err)
		}
		if err := o.lease.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := b.Calls()
		win(t, p, "k")
		if n := b.Calls() - before; n != 1 {
			t.Errorf("Campaign took %d calls after its leftover had expired, want 1", n)
		}
	})
}

func TestResignOfATermKnownToBeOverAsksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		resigned, lost := win(t, b, "resigned"), win(t, b, "lost")
		if err := resigned.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.Depose("lost")
		_, err := lost.Renew(t.Context())
		wantErr(t, "Renew", err, backend.ErrLost)
		b.Cut()
		before := b.Calls()
		for _, l := range []backend.Lease{resigned, lost} {
			if err := l.Resign(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := b.Calls() - before; n != 0 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestALossThatWasMadeUpLetsTheSessionStandAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		l := win(t, b, "k")
		b.Fail(1, backend.ErrLost)
		_, err := l.Renew(t.Context())
		wantErr(t, "Renew", err, backend.ErrLost)
		if again := win(t, b, "k"); again.Token() != l.Token()+1 {
			t.Errorf("token %d after %d", again.Token(), l.Token())
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
