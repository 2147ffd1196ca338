package election

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestRandomWalks drives machines with random answers, delays and wishes, a few hundred thousand steps in
// all, and checks what must hold of every run: one call at a time, nothing released under work that
// runs, the end of every term told, and an end to every campaign that was asked to end.
func TestRandomWalks(t *testing.T) {
	seeds := 3000
	if testing.Short() {
		seeds = 300
	}
	for seed := range seeds {
		walk(t, uint64(seed))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func walk(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	b := newBench(t)
	var (
		working, awaited bool
		announced        uint64 // term told to have begun, and not to have ended
		finished         bool
		lastToken        uint64
		call             effectKind
		calling          bool
	)
	absorb := func() {
		for _, e := range b.all {
			if finished {
				t.Errorf("effect %s after the end", effectNames[e.kind])
			}
			switch e.kind {
			case effectCampaign, effectRenew, effectProclaim, effectRelease:
				if calling {
					t.Errorf("%s while %s is under way", effectNames[e.kind], effectNames[call])
				}
				call, calling = e.kind, true
				if working && (e.kind == effectRelease || e.kind == effectCampaign) {
					t.Errorf("%s under work that runs", effectNames[e.kind])
				}
			case effectBegin:
				working, awaited = true, false
				if e.token <= lastToken {
					t.Errorf("token %d after %d", e.token, lastToken)
				}
				lastToken = e.token
			case effectAwait:
				awaited = true
			case effectPublish:
				if e.event.ends != 0 {
					if announced != e.event.ends {
						t.Errorf("told the end of term %d, announced was %d", e.event.ends, announced)
					}
					announced = 0
				} else if announced != 0 {
					t.Errorf("%v published while a term was announced", e.event.state)
				}
				if e.event.term != 0 {
					announced = e.event.term
				}
			case effectFinish:
				finished = true
				if working {
					t.Error("finished under work that runs")
				}
				if announced != 0 {
					t.Error("finished without the end of the term told")
				}
			default:
			}
		}
	}
	b.do(0, fact{kind: factListeners, n: rnd.IntN(2)})
	b.do(0, fact{kind: factStart})
	absorb()
	kind := func(ok, bad factKind) fact {
		if rnd.IntN(3) > 0 {
			return fact{kind: ok, grant: b.granted(time.Duration(rnd.Int64N(int64(testTTL)))), token: lastToken + 1 + uint64(rnd.IntN(3))}
		}
		f := fact{kind: bad, err: errTest}
		if rnd.IntN(4) == 0 {
			f.class = class(rnd.IntN(int(classClosed) + 1))
		}
		return f
	}
	for i := range 400 {
		if finished {
			return
		}
		stopping := i > 200
		pause := time.Duration(rnd.Int64N(int64(2 * time.Second)))
		if rnd.IntN(40) == 0 {
			pause = time.Duration(rnd.Int64N(int64(time.Minute)))
			b.slept += pause
		}
		f := fact{kind: factTick}
		switch n := rnd.IntN(10); {
		case calling && n < 5:
			calling = false
			switch call {
			case effectCampaign:
				f = kind(factWon, factFailed)
			case effectRenew:
				f = kind(factRenewed, factRenewFailed)
			case effectProclaim:
				f = kind(factProclaimed, factProclaimed)
			default:
				f = kind(factReleased, factReleased)
			}
			f.seq = b.m.call
		case n == 5 && awaited && working:
			working = false
			f = fact{kind: factWorkReturned}
		case n == 6 && !stopping:
			f = fact{kind: []factKind{factLost, factWaitFailed, factClosed, factExpired, factResignAsked, factProclaimAsked, factConfirmAsked, factStopAsked, factLeadReturned}[rnd.IntN(9)], err: errTest, id: 3}
			if f.kind == factStopAsked || f.kind == factClosed || f.kind == factLeadReturned {
				if rnd.IntN(10) > 0 {
					f = fact{kind: factTick}
				}
			}
		case n == 7:
			f = fact{kind: factObserved, leader: leader{Token: uint64(rnd.IntN(int(lastToken) + 2))}}
			if rnd.IntN(3) == 0 {
				f = fact{kind: factObserveFailed, err: errTest}
			}
		case n == 8:
			f = fact{kind: factListeners, n: rnd.IntN(2)}
		case stopping:
			f = fact{kind: factStopAsked, err: errTest}
		}
		b.do(pause, f)
		absorb()
	}
	if !finished {
		t.Errorf("asked to stop, but still in %s, call %v, working %v", phaseNames[b.m.phase], calling, working)
	}
}
