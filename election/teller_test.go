package election

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/hustings-go/hustings/backend"
)

// storesTell makes newElection wrap every store in one that tells. Tests here are not parallel.
var storesTell bool

// What holds for a store that is asked holds for one that tells.
func TestAStoreThatTells(t *testing.T) {
	storesTell = true
	defer func() { storesTell = false }()
	for name, test := range map[string]func(*testing.T){
		"passes through all events":          TestLeadershipPassesThroughAllEvents,
		"leads again after loss":             TestRunLeadsAgainAfterLossAndEndsWithItsWork,
		"rides out an outage":                TestOutageEndsTheTermOnTimeAndIsRiddenOut,
		"replaces a watch that breaks":       TestAWatchThatBreaksIsReplacedAndTheTermDoubted,
		"stands where observing fails":       TestObservationThatFailsDoesNotKeepACandidateFromStanding,
		"is told of loss while it drains":    TestLostWhileDraining,
		"is told of loss as lead returns":    TestLeadReturnsAsTheLeaseIsLost,
		"is closed under a leader":           TestCloseUnderALeader,
		"proclaims as the key is lost":       TestProclaimRacesWithLoss,
		"misses no event":                    TestNoEventIsMissingForALoopThatKeepsUp,
		"follows the leader for who watches": TestAListenerThatComesLaterIsToldTheSameLeader,
		"lets go of a lease":                 TestALeaseThatIsOverIsLetGo,
	} {
		t.Run(name, test)
	}
}

// The store's goroutine, which serves all keys, is not held up by one election that is.
func TestTellingWaitsForNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		var began, stopped atomic.Int64
		var tell func(backend.Leader, error)
		b := &teller{Backend: store, leaders: func(f func(backend.Leader, error)) func() {
			tell = f
			began.Add(1)
			return func() { stopped.Add(1) }
		}}
		rival, err := newPeer(t, store).Campaign(t.Context(), testKey, []byte("rival"))
		if err != nil {
			t.Fatal(err)
		}
		e := newElection(t, b, "a")
		d := standFor(t, e, nil)
		synctest.Wait()
		const many = 1000
		for i := range many {
			tell(backend.Leader{Value: []byte("rival"), Token: rival.Token() + uint64(i)}, nil)
		}
		synctest.Wait()
		if got, want := d.last().Leader.Token, rival.Token()+many-1; got != want {
			t.Errorf("the leader told last has token %d, and %d is known", want, got)
		}
		tell(backend.Leader{}, errTest)
		until(t, "observed again", func() bool { return began.Load() == 2 })
		tell(backend.Leader{Value: []byte("late"), Token: 1 << 40}, nil) // the new one
		synctest.Wait()
		if got := d.last().Leader.Value; got != "late" {
			t.Errorf("after another observation began, %q leads", got)
		}
		d.stop()
		if stopped.Load() < 2 {
			t.Errorf("%d of 2 observations were stopped", stopped.Load())
		}
	})
}

// teller tells of leaders by its own lights.
type teller struct {
	backend.Backend
	leaders func(tell func(backend.Leader, error)) (stop func())
}

func (b *teller) TellLeaders(_ context.Context, _ string, tell func(backend.Leader, error)) (stop func()) {
	return b.leaders(tell)
}

// Who is told does not ask as well: neither loss nor leaders cost a goroutine.
func TestAStoreThatTellsIsNotAsked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		lose := make(chan func(error), 2)
		b := &teller{Backend: store, leaders: func(func(backend.Leader, error)) func() { return func() {} }}
		e := newElection(t, silentLoss{b, lose}, "a")
		d := standFor(t, e, nil)
		until(t, "a leads", leads(e))
		store.Depose(testKey)
		(<-lose)(backend.ErrLost)
		until(t, "the loss is told", func() bool {
			for _, ev := range d.all() {
				if ev.Previous == StateLeader && errors.Is(ev.Err, ErrLost) {
					return true
				}
			}
			return false
		})
		d.stop()
	})
}

// silentLoss hands out what would be told of losses.
type silentLoss struct {
	*teller
	lose chan func(error)
}

type silentLease struct {
	backend.Lease
	b silentLoss
}

func (b silentLoss) Campaign(ctx context.Context, key string, value []byte) (backend.Lease, error) {
	l, err := b.teller.Campaign(ctx, key, value)
	if err != nil {
		return nil, err
	}
	return silentLease{l, b}, nil
}

func (l silentLease) TellLoss(_ context.Context, tell func(error)) (stop func()) {
	l.b.lose <- tell
	return func() {}
}

func (l silentLease) Wait(context.Context) error { panic("asked, though it tells") }

func (b *teller) Observe(context.Context, string) iter.Seq2[backend.Leader, error] {
	panic("asked, though it tells")
}
