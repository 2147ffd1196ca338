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

// What mutants have shown to be untested.

func TestARivalMakesALeaderAskTheStore(t *testing.T) {
	b := newBench(t)
	b.do(0, fact{kind: factListeners, n: 1})
	leading(b)
	b.do(time.Second, fact{kind: factObserved, leader: leader{Token: b.m.token + 3}}).want(phaseLeading, "renew")
	if b.m.wanted {
		t.Error("wants a second renewal beside the one under way")
	}
}

func TestClocksThatPartMakeALeaderAskTheStore(t *testing.T) {
	b := newBench(t)
	leading(b)
	b.slept += time.Second // the wall clock has not moved with it: more than half of the margin
	b.do(0, fact{kind: factTick}).want(phaseLeading, "renew")
	b.do(time.Millisecond, fact{kind: factRenewFailed, err: errTest})
	b.do(time.Millisecond, fact{kind: factTick}).want(phaseLeading, "")
}

func TestAnOwnRecordThatIsOverIsNotBelievedAgain(t *testing.T) {
	b := newBench(t)
	b.do(0, fact{kind: factListeners, n: 1})
	leading(b)
	own := leader{Token: b.m.token, Value: []byte("v")}
	b.do(0, fact{kind: factLost, err: ErrLost}).do(0, fact{kind: factObserved, leader: own})
	if b.m.leader.Token != 0 || b.find(effectPublish) != nil {
		t.Errorf("its own term, which is lost, is shown as the leader: %v", b.kinds())
	}
}

func TestALateWinThatIsConfirmedTooLateIsGivenBack(t *testing.T) {
	b := newBench(t)
	b.do(0, fact{kind: factStart}).do(0, b.won(7*time.Second)).want(phaseConfirming, "renew")
	g := b.granted(2200 * time.Millisecond)
	g.TTL = 3 * time.Second // valid for 2.5 s, of which its work would have had 1.9 s
	b.do(0, fact{kind: factRenewed, grant: g})
	if b.m.phase != phaseReleasing || b.find(effectBegin) != nil {
		t.Errorf("is %s after %q", phaseNames[b.m.phase], b.kinds())
	}
}

func TestAReleaseThatFailsIsTriedAgain(t *testing.T) {
	b := newBench(t)
	leading(b)
	b.do(0, fact{kind: factResignAsked, err: ErrResigned}).do(0, fact{kind: factWorkReturned}).want(phaseReleasing, "over release")
	b.do(time.Second, fact{kind: factReleased, err: errTest}).want(phaseReleasing, "")
	b.do(time.Second, fact{kind: factTick}).want(phaseReleasing, "release")
}

func TestARenewalCountsFromWhenItWasAskedForNotAnswered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		lease, err := store.Campaign(t.Context(), testKey, nil)
		if err != nil {
			t.Fatal(err)
		}
		store.Cut()
		go func() {
			time.Sleep(time.Second)
			store.Heal()
		}()
		asked := time.Now()
		g, err := lease.Renew(t.Context())
		if err != nil || time.Since(asked) < time.Second {
			t.Fatalf("answered after %v, error %v", time.Since(asked), err)
		}
		if got := g.Sent.Wall().Sub(asked); got != 0 {
			t.Errorf("the lease counts from %v after the question", got)
		}
		if err := lease.Resign(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestNewsOfAnEarlierTermAreStale(t *testing.T) {
	b := newBench(t)
	leading(b)
	old := b.m.wait
	b.do(0, fact{kind: factLost, err: ErrLost, class: classLost}).do(0, fact{kind: factWorkReturned})
	b.do(0, b.won(0))
	for _, k := range []factKind{factLost, factWaitFailed, factClosed} {
		b.do(0, fact{kind: k, seq: old, err: errTest, class: classLost}).want(phaseLeading, "")
	}
}

// A clock may go past the deadline and be set back between two looks of the driver. Whoever asked the term
// meanwhile was told that it is over; so its work has to be told to stop.
func TestAClockThatJumpedAndCameBackEndsTheTerm(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var jump atomic.Int64
		e := newElection(t, newStore(t), "a")
		e.opts.now = func() instant { return backend.Now().Add(time.Duration(jump.Load())) }
		d := standFor(t, e, nil)
		defer d.stop()
		until(t, "leading", leads(e))
		term := e.Term()
		jump.Store(int64(time.Hour))
		if term.Valid() {
			t.Fatal("valid an hour later")
		}
		jump.Store(0)
		time.Sleep(2 * maxLook)
		synctest.Wait()
		if got := context.Cause(term.ctx); !errors.Is(got, ErrExpired) {
			t.Errorf("the term is over, and its context ended with %v", got)
		}
	})
}
