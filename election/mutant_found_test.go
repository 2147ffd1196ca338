package election

import (
	"testing"
	"time"
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
