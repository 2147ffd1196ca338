package flight_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/flight"
)

const patience = 250 * time.Millisecond

// oracle answers odd questions with errOdd, after a while; and those of the round that hangs, if one does, never.
type oracle struct {
	takes time.Duration
	hangs atomic.Int64 // the number of that round, from 1

	mu    sync.Mutex
	asked [][]int
	at    []time.Duration
	began time.Time
	ended atomic.Int64 // rounds that were broken off
}

var errOdd = errors.New("odd")

func newOracle() *oracle { return &oracle{takes: 10 * time.Millisecond, began: time.Now()} }

func (o *oracle) rounds() *flight.Rounds[int] {
	return flight.NewRounds(patience, func(ctx context.Context, questions []int) []error {
		o.mu.Lock()
		o.asked, o.at = append(o.asked, questions), append(o.at, since(o.began))
		number := len(o.asked)
		o.mu.Unlock()
		var over <-chan time.Time
		if int64(number) != o.hangs.Load() {
			over = time.After(o.takes)
		}
		answers := make([]error, len(questions))
		select {
		case <-over:
			for i, q := range questions {
				if q%2 != 0 {
					answers[i] = fmt.Errorf("%d: %w", q, errOdd)
				}
			}
		case <-ctx.Done():
			o.ended.Add(1)
			for i := range answers {
				answers[i] = ctx.Err()
			}
		}
		return answers
	})
}

func put(ctx context.Context, rs *flight.Rounds[int], question int) <-chan error {
	answer := make(chan error, 1)
	go func() { answer <- rs.Ask(ctx, question) }()
	synctest.Wait()
	return answer
}

func TestWhoAsksAloneWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOracle()
		rs := o.rounds()
		for i := range 3 {
			if err := <-put(t.Context(), rs, 2*i); err != nil {
				t.Error(err)
			}
		}
		if took := since(o.began); took != 3*o.takes || len(o.asked) != 3 {
			t.Errorf("%d rounds took %v", len(o.asked), took)
		}
	})
}

// Whatever is asked while a round is in the air goes out with the next, and each gets its own answer.
func TestQuestionsGatherBehindTheRoundInTheAir(t *testing.T) {
	for _, n := range []int{1, 10, 100} {
		synctest.Test(t, func(t *testing.T) {
			o := newOracle()
			rs := o.rounds()
			first := put(t.Context(), rs, 0)
			var others []<-chan error
			for i := range n {
				others = append(others, put(t.Context(), rs, i+1))
			}
			if err := <-first; err != nil {
				t.Error(err)
			}
			for i, answer := range others {
				if err := <-answer; errors.Is(err, errOdd) != (i%2 == 0) {
					t.Errorf("question %d was answered %v", i+1, err)
				}
			}
			if len(o.asked) != 2 || len(o.asked[1]) != n || o.at[1] != o.takes {
				t.Errorf("rounds %v at %v", o.asked, o.at)
			}
		})
	}
}

// A question that was put after a round was sent is not answered by it.
func TestNoQuestionIsAnsweredByWhatWasSentBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOracle()
		rs := o.rounds()
		first := put(t.Context(), rs, 0)
		time.Sleep(o.takes / 2)
		second := put(t.Context(), rs, 2)
		if err := errors.Join(<-first, <-second); err != nil {
			t.Error(err)
		}
		if !slices.EqualFunc(o.asked, [][]int{{0}, {2}}, slices.Equal) {
			t.Errorf("rounds %v", o.asked)
		}
	})
}

func TestARoundThatHangsHoldsUpNoLaterOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOracle()
		o.hangs.Store(1)
		rs := o.rounds()
		patient, leave := context.WithCancel(t.Context())
		hung := put(patient, rs, 0)
		for range 3 {
			began := time.Now()
			if err := <-put(t.Context(), rs, 2); err != nil {
				t.Error(err)
			}
			if took := since(began); took > patience+o.takes {
				t.Errorf("answered after %v", took)
			}
		}
		nothing(t, "the one that hangs", hung)
		leave()
		if err := <-hung; !errors.Is(err, context.Canceled) || o.ended.Load() != 1 {
			t.Errorf("%v, %d rounds broken off", err, o.ended.Load())
		}
	})
}

func TestWhoLeavesARoundCostsTheOthersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOracle()
		rs := o.rounds()
		first := put(t.Context(), rs, 0)
		leaving, leave := context.WithCancelCause(t.Context())
		left, stays := put(leaving, rs, 2), put(t.Context(), rs, 3)
		leave(backend.ErrClosed)
		if err := <-left; !errors.Is(err, backend.ErrClosed) {
			t.Errorf("who left was told %v", err)
		}
		if err := errors.Join(<-first, <-stays); !errors.Is(err, errOdd) {
			t.Errorf("who stayed was told %v", err)
		}
	})
}

// A round that all have left before it was sent is sent for those who come then.
func TestARoundThatAllHaveLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOracle()
		rs := o.rounds()
		first := put(t.Context(), rs, 0)
		leaving, leave := context.WithCancel(t.Context())
		left := put(leaving, rs, 2)
		leave()
		<-left
		later := put(t.Context(), rs, 5)
		if err := errors.Join(<-first, <-later); !errors.Is(err, errOdd) {
			t.Errorf("answered %v", err)
		}
	})
}

// Those for whom there is no room gather anew, and nobody waits for them.
func TestAFullRoundGoesOutAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOracle()
		o.hangs.Store(1)
		rs := o.rounds()
		rs.Room = func(gathered []int, question int) bool { return len(gathered) < 3 && question < 100 }
		ctx, leave := context.WithCancel(t.Context())
		hung := put(ctx, rs, 0)
		var answers []<-chan error
		for _, q := range []int{2, 4, 6, 8, 10, 100, 12} {
			answers = append(answers, put(t.Context(), rs, q))
		}
		for _, answer := range answers {
			if err := <-answer; err != nil {
				t.Error(err)
			}
		}
		if !slices.EqualFunc(o.asked, [][]int{{0}, {2, 4, 6}, {8, 10}, {100, 12}}, slices.Equal) {
			t.Errorf("rounds %v", o.asked)
		}
		if !slices.Equal(o.at, []time.Duration{0, 0, 0, o.takes}) {
			t.Errorf("sent at %v", o.at)
		}
		leave()
		<-hung
	})
}

// A pause is for who begins a round when nothing is in the air, and never longer than the patience.
func TestAPauseGathersThoseWhoAreAboutToAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOracle()
		rs := o.rounds()
		const pause = 50 * time.Millisecond
		rs.Pause = func(question int) time.Duration { return time.Duration(question) * pause }
		first := put(t.Context(), rs, 0) // without one
		behind := put(t.Context(), rs, 0)
		if err := errors.Join(<-first, <-behind); err != nil {
			t.Error(err)
		}
		first = put(t.Context(), rs, 2)
		time.Sleep(pause)
		second := put(t.Context(), rs, 4)
		if err := errors.Join(<-first, <-second); err != nil {
			t.Error(err)
		}
		last := put(t.Context(), rs, 1000)
		if err := <-last; err != nil {
			t.Error(err)
		}
		if !slices.EqualFunc(o.asked, [][]int{{0}, {0}, {2, 4}, {1000}}, slices.Equal) {
			t.Errorf("rounds %v", o.asked)
		}
		after := 2*o.takes + 2*pause
		if !slices.Equal(o.at, []time.Duration{0, o.takes, after, after + o.takes + patience}) {
			t.Errorf("sent at %v", o.at)
		}
	})
}

// Many come and go at once, and each is told the answer to its own question.
func TestManyAskAndLeave(t *testing.T) {
	var rounds atomic.Int64
	rs := flight.NewRounds(time.Millisecond, func(ctx context.Context, questions []int) []error {
		rounds.Add(1)
		answers := make([]error, len(questions))
		select {
		case <-time.After(rand.N(100 * time.Microsecond)):
		case <-ctx.Done():
		}
		for i, q := range questions {
			answers[i] = fmt.Errorf("answer %d", q)
		}
		return answers
	})
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			for j := range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), rand.N(200*time.Microsecond))
				q := 1000*i + j
				if err := rs.Ask(ctx, q); !errors.Is(err, context.DeadlineExceeded) && err.Error() != fmt.Sprintf("answer %d", q) {
					t.Errorf("question %d was answered %v", q, err)
				}
				cancel()
			}
		})
	}
	all.Wait()
	t.Logf("%d rounds for %d questions", rounds.Load(), 50*200)
}
