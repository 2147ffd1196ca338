package memory_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/memory"
	"github.com/hustings-go/hustings/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ttl = 10 * time.Second

// outcome is what a Campaign that runs beside a test came to.
type outcome struct {
	lease backend.Lease
	err   error
}

func open(t *testing.T) *memory.Backend {
	t.Helper()
	b, err := memory.New(memory.WithTTL(ttl))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func peer(t *testing.T, b *memory.Backend, opts ...memory.Option) *memory.Backend {
	t.Helper()
	p, err := b.Peer(opts...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func win(t *testing.T, b backend.Backend, key string) backend.Lease {
	t.Helper()
	l, err := b.Campaign(t.Context(), key, []byte("value"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// stand campaigns beside the test and returns when the candidate waits, or is done.
func stand(ctx context.Context, b backend.Backend, key string) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		l, err := b.Campaign(ctx, key, []byte("waiting"))
		done <- outcome{l, err}
	}()
	synctest.Wait()
	return done
}

// none fails the test if the call has come to an end by now.
func none(t *testing.T, done <-chan outcome) {
	t.Helper()
	synctest.Wait()
	select {
	case o := <-done:
		t.Fatalf("Campaign returned (%v, %v), must still wait", o.lease, o.err)
	default:
	}
}

// now returns the outcome that must be there by now.
func now(t *testing.T, done <-chan outcome) outcome {
	t.Helper()
	synctest.Wait()
	select {
	case o := <-done:
		return o
	default:
		t.Fatal("Campaign still waits")
		return outcome{}
	}
}

// leader is who leads according to a session of its own.
func leader(t *testing.T, b *memory.Backend, key string) backend.Leader {
	t.Helper()
	for l, err := range peer(t, b).Observe(t.Context(), key) {
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	t.Fatal("Observe yielded nothing")
	return backend.Leader{}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: error %v, want one that wraps %q", what, err, want)
	}
}

func TestNewRefusesATTLThatIsNotPositive(t *testing.T) {
	good, err := memory.New()
	if err != nil || good.TTL() != memory.DefaultTTL {
		t.Fatalf("New() = TTL %v, error %v; want the default of %v", good.TTL(), err, memory.DefaultTTL)
	}
	for _, bad := range []time.Duration{0, -1, -5 * time.Second} {
		for name, open := range map[string]func(...memory.Option) (*memory.Backend, error){"New": memory.New, "Peer": good.Peer} {
			b, err := open(memory.WithTTL(bad))
			if b != nil || !retry.IsPermanent(err) || !strings.Contains(err.Error(), bad.String()) {
				t.Errorf("%s with TTL %v = %v, %v; want a permanent error that names it", name, bad, b, err)
			}
		}
	}
}

func TestPeerInheritsTheTTLOrBringsItsOwn(t *testing.T) {
	b := open(t)
	if got := peer(t, b, nil).TTL(); got != ttl {
		t.Errorf("TTL of a peer is %v, want %v", got, ttl)
	}
	if got := peer(t, b, memory.WithTTL(time.Minute)).TTL(); got != time.Minute {
		t.Errorf("TTL of a peer that asks for a minute is %v", got)
	}
}

func TestALeaseEndsExactlyOneTTLAfterItsLastRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		old := win(t, b, "k")
		next := stand(t.Context(), peer(t, b), "k")
		for range 5 {
			time.Sleep(ttl - 1)
			if _, err := old.Renew(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(ttl - 1)
		none(t, next)
		time.Sleep(1)
		o := now(t, next)
		if o.err != nil {
			t.Fatal(o.err)
		}
		_, err := old.Renew(t.Context())
		wantErr(t, "Renew of the expired term", err, backend.ErrLost)
		wantErr(t, "Proclaim of the expired term", old.Proclaim(t.Context(), nil), backend.ErrLost)
		if err := old.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		if l := leader(t, b, "k"); l.Token != o.lease.Token() || string(l.Value) != "waiting" {
			t.Fatalf("leader after late calls of the old term is %q with token %d, want the successor %d", l.Value, l.Token, o.lease.Token())
		}
	})
}

func TestLateTimersDoNotProlongALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, cut := open(t), (*memory.Backend)(nil)
		for what, look := range map[string]func(l backend.Lease){
			"Renew": func(l backend.Lease) {
				_, err := l.Renew(t.Context())
				wantErr(t, "Renew of a lease whose timer is late", err, backend.ErrLost)
			},
			"Observe": func(backend.Lease) {
				if l := leader(t, b, "k"); !l.Vacant() {
					t.Fatalf("Observe shows %+v, whose timer is late", l)
				}
			},
			"Campaign": func(l backend.Lease) {
				if next := now(t, stand(t.Context(), peer(t, b), "k")); next.err != nil || next.lease.Resign(t.Context()) != nil {
					t.Fatalf("Campaign behind a lease whose timer is late: %v", next.err)
				}
			},
			"a dead candidate": func(l backend.Lease) {
				if _, err := l.Renew(t.Context()); !errors.Is(err, backend.ErrLost) {
					t.Fatal(err)
				}
				live := now(t, stand(t.Context(), peer(t, b), "k"))
				if live.err != nil || live.lease.Token() != l.Token()+1 {
					t.Fatalf("a dead candidate whose timer is late had a term: %v, %v", live.lease, live.err)
				}
			},
		} {
			l := win(t, peer(t, b), "k")
			if what == "a dead candidate" {
				cut = peer(t, b)
				stand(t.Context(), cut, "k")
				cut.Cut()
			}
			memory.StopTimers(b, "k")
			time.Sleep(ttl)
			look(l)
		}
	})
}

func TestATimerThatFiredAsItWasSetAnewEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		l := win(t, b, "k")
		next := stand(t.Context(), peer(t, b), "k")
		memory.FireTimers(b, "k")
		if _, err := l.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		none(t, next)
	})
}

func TestTheTimerOfARecordStopsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		l := win(t, b, "k")
		if err := l.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		if memory.TimerRuns(l) {
			t.Error("the timer of a resigned term runs")
		}
		if !memory.TimerRuns(win(t, b, "k")) {
			t.Error("the timer of a term does not run")
		}
	})
}

func TestTheQueueIsLeftWhenCloseReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		win(t, b, "k")
		p := peer(t, b)
		done := stand(t.Context(), p, "k")
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if n := memory.Records(b, "k"); n != 1 {
			t.Errorf("the store has %d records of the key, want the holder's alone", n)
		}
		wantErr(t, "Campaign", now(t, done).err, backend.ErrClosed)
	})
}

func TestASessionWhoseLeaseExpiredUnseenMayStandAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		old := win(t, b, "k")
		time.Sleep(ttl)
		synctest.Wait()
		again := win(t, b, "k")
		if err := old.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := again.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestWaitOfAResignedTermReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := win(t, open(t), "k")
		told := waiting(t, l)
		if err := l.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantErr(t, "Wait", <-told, backend.ErrLost)
	})
}

func TestWhatDidNotChangeIsNotYielded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		l := win(t, b, "k")
		var seen []string
		go func() {
			for leader, err := range b.Observe(t.Context(), "k") {
				seen = append(seen, string(leader.Value))
				if err != nil {
					t.Error(err)
				}
			}
		}()
		for _, value := range []string{"value", "other", "other", "value"} {
			synctest.Wait()
			if err := l.Proclaim(t.Context(), []byte(value)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if got := strings.Join(seen, " "); got != "value other value" {
			t.Errorf("Observe yielded %q, want each change once", got)
		}
	})
}

func TestCandidatesAreServedInTheOrderOfTheirComing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		last := win(t, b, "k")
		var queue []<-chan outcome
		for range 10 {
			queue = append(queue, stand(t.Context(), peer(t, b), "k"))
		}
		for i, next := range queue {
			if err := last.Resign(t.Context()); err != nil {
				t.Fatal(err)
			}
			o := now(t, next)
			if o.err != nil || o.lease.Token() != last.Token()+1 {
				t.Fatalf("candidate %d: error %v, lease %v after token %d", i, o.err, o.lease, last.Token())
			}
			for _, later := range queue[i+1:] {
				none(t, later)
			}
			last = o.lease
		}
	})
}

func TestAnIdleStoreMakesNoCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		win(t, b, "other")
		l := win(t, b, "k")
		next := stand(t.Context(), peer(t, b), "k")
		go func() {
			for range peer(t, b).Observe(t.Context(), "k") {
				continue
			}
		}()
		synctest.Wait()
		before := b.Calls()
		time.Sleep(ttl - 1)
		none(t, next)
		if n := b.Calls() - before; n != 0 {
			t.Fatalf("%d calls while nothing happened", n)
		}
		if _, err := l.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := b.Calls() - before; n != 1 {
			t.Fatalf("one Renew counted as %d calls", n)
		}
	})
}

func TestWhatNobodyUsesIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		win(t, b, "expires")
		if err := win(t, b, "resigned").Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		leader(t, b, "observed")
		ctx, cancel := context.WithCancel(t.Context())
		held := win(t, b, "withdrawn")
		done := stand(ctx, peer(t, b), "withdrawn")
		cancel()
		wantErr(t, "withdrawn", now(t, done).err, context.Canceled)
		if err := held.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(ttl)
		synctest.Wait()
		if n := memory.Keys(b); n != 0 {
			t.Fatalf("the store still knows %d keys", n)
		}
	})
}
