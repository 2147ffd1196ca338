package election

import (
	"errors"
	"testing"
	"time"
)

// What the simulation has found, each in its shortest form.

// Found by seed 7977: when the last listener left, the machine forgot who leads but not how high the
// tokens were, and so did not believe the same leader when somebody listened again.
func TestAListenerThatComesLaterIsToldTheSameLeader(t *testing.T) {
	b := newBench(t)
	b.do(0, fact{kind: factListeners, n: 1}).do(0, fact{kind: factStart})
	b.do(0, fact{kind: factObserved, leader: leader{Token: 5, Value: []byte("x")}})
	b.do(time.Second, fact{kind: factListeners}).do(time.Second, fact{kind: factListeners, n: 1})
	b.do(0, fact{kind: factObserved, leader: leader{Token: 5, Value: []byte("x")}}).want(phaseCampaigning, "publish(campaigning)")
	if got := b.m.leader.Token; got != 5 {
		t.Errorf("believes in leader %d, the store has 5", got)
	}
	b.do(0, fact{kind: factObserved}).do(0, fact{kind: factObserved, leader: leader{Token: 5}}).want(phaseCampaigning, "")
	if got := b.m.leader.Token; got != 0 {
		t.Errorf("believes again in leader %d, which was seen to be over", got)
	}
}

// Found by seed 2866: the answer to a win came late, after its record was taken away and a successor had
// been seen. The term was announced all the same, and with it a leader older than the one shown before.
func TestAWinBelowATokenThatWasSeenIsRenewedBeforeItIsAnnounced(t *testing.T) {
	b := newBench(t)
	b.do(0, fact{kind: factListeners, n: 1}).do(0, fact{kind: factStart})
	b.do(0, fact{kind: factObserved, leader: leader{Token: 10}})
	b.do(0, fact{kind: factWon, token: 7, grant: b.granted(0)}).want(phaseConfirming, "renew")
	b.do(0, fact{kind: factRenewFailed, class: classLost, err: ErrLost})
	if b.m.phase != phaseCampaigning || b.find(effectCampaign) == nil {
		t.Errorf("does not stand again, but is %s", phaseNames[b.m.phase])
	}
}

// Found by seed 478190: the same, with the successor seen while that renewal was under way.
func TestATokenSeenWhileAWinIsConfirmedIsAskedAbout(t *testing.T) {
	b := newBench(t)
	b.do(0, fact{kind: factListeners, n: 1}).do(0, fact{kind: factStart})
	b.do(0, b.won(7*time.Second)).want(phaseConfirming, "renew")
	b.do(0, fact{kind: factObserved, leader: leader{Token: 10}})
	b.do(0, fact{kind: factRenewed, grant: b.granted(0)}).want(phaseConfirming, "install renew")
	b.do(0, fact{kind: factRenewed, grant: b.granted(0)})
	if b.m.phase != phaseLeading {
		t.Errorf("confirmed twice, but is %s", phaseNames[b.m.phase])
	}
}

// Found when the simulation began to count the callers who were not answered: Confirm, asked under draining work
// just after the term was over, waited for an answer until its context ended, or the next term was renewed.
func TestConfirmUnderDrainingWorkWhoseTermIsOverIsAnswered(t *testing.T) {
	for scene, want := range map[string]error{"Draining, over": ErrExpired, "Draining to campaign": ErrLost} {
		b := newBench(t)
		scenes[scene](b)
		b.do(0, fact{kind: factConfirmAsked, id: 7}).want(phaseDraining, "answer")
		if e := b.find(effectAnswer); e.id != 7 || !errors.Is(e.err, want) {
			t.Errorf("%s: caller %d is told %v, want %v", scene, e.id, e.err, want)
		}
	}
}

// Found when the simulation began to ask why campaigns end: a renewal that was refused for good, and then granted
// after all, made the campaign end for good at the next failure of any kind, however much later.
func TestARefusalThatWasMendedEndsNoCampaign(t *testing.T) {
	refused := fact{kind: factRenewFailed, class: classPermanent, err: errTest}
	for name, next := range map[string]func(b *bench){
		"by a renewal": func(b *bench) {
			b.do(time.Second, fact{kind: factTick}).do(0, fact{kind: factRenewed, grant: b.granted(0)})
			b.do(0, fact{kind: factResignAsked, err: ErrResigned}).do(0, fact{kind: factWorkReturned}).do(0, fact{kind: factReleased})
			b.do(time.Minute, fact{kind: factTick})
		},
		"by a loss": func(b *bench) {
			b.do(0, fact{kind: factLost, class: classLost, err: ErrLost}).do(0, fact{kind: factWorkReturned})
		},
	} {
		b := newBench(t)
		leading(b)
		b.do(6*time.Second, fact{kind: factTick}).do(0, refused)
		next(b)
		b.do(0, fact{kind: factFailed, err: errTest})
		if b.m.phase != phaseBackingOff {
			t.Errorf("%s: %s after a failure that will pass", name, phaseNames[b.m.phase])
		}
	}
}

// Found when the simulation's stale servers began to be behind what a listener had seen before: an observation that
// began with an old vacancy made the machine take the leader, who led all the while, for one that was over.
func TestAnOldVacancyEndsNoLeader(t *testing.T) {
	b := newBench(t)
	leads := leader{Token: 5, Value: []byte("x")}
	b.do(0, fact{kind: factListeners, n: 1}).do(0, fact{kind: factStart})
	b.do(0, fact{kind: factObserved, leader: leads})
	b.do(0, fact{kind: factObserveFailed, err: errTest}).do(time.Minute, fact{kind: factTick})
	b.do(0, fact{kind: factObserved}).do(0, fact{kind: factObserved, leader: leads})
	if got := b.m.leader.Token; got != 5 {
		t.Errorf("believes in leader %d, the store has 5", got)
	}
	b.do(0, fact{kind: factObserved}).do(0, fact{kind: factObserved, leader: leads})
	if got := b.m.leader.Token; got != 0 {
		t.Errorf("believes again in leader %d, whom the same observation has told to be gone", got)
	}
}

// Found by reading: refusals were counted until the next win, so that a candidate that never leads ended for good of
// three that lay months apart.
func TestRefusalsOfLongAgoDoNotCount(t *testing.T) {
	b := newBench(t)
	b.do(0, fact{kind: factStart})
	denied := fact{kind: factFailed, class: classDenied, err: errTest}
	for range 5 {
		b.do(30*24*time.Hour, denied)
		if b.m.phase != phaseBackingOff {
			t.Fatalf("%s after a refusal of a candidacy that had stood for a month", phaseNames[b.m.phase])
		}
		b.do(time.Minute, fact{kind: factTick})
	}
	for range 2 {
		b.do(time.Second, denied).do(testTTL, fact{kind: factTick})
	}
	if b.m.phase != phaseEnded {
		t.Errorf("%s after refusals for two TTLs", phaseNames[b.m.phase])
	}
}
