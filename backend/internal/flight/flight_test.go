package flight_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/flight"
)

var errAnswer = errors.New("the answer")

// server takes requests, and answers when it is told to.
type server struct {
	requests, alive atomic.Int64
	answers         chan error
	ended           chan error // why a request that was broken off ended, if not nil
}

func newServer() *server { return &server{answers: make(chan error)} }

func (s *server) do(ctx context.Context) error {
	s.requests.Add(1)
	s.alive.Add(1)
	defer s.alive.Add(-1)
	select {
	case err := <-s.answers:
		return err
	case <-ctx.Done():
		if s.ended != nil {
			s.ended <- ctx.Err()
		}
		return ctx.Err()
	}
}

// ask boards and awaits beside the test.
func ask(ctx context.Context, slot *flight.Slot) <-chan error {
	f := slot.Board(ctx)
	answer := make(chan error, 1)
	go func() { answer <- f.Await(ctx) }()
	return answer
}

// nothing fails the test if something has come from ch.
func nothing(t *testing.T, what string, ch <-chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-ch:
		t.Errorf("%s: ended with %v", what, err)
	default:
	}
}

func TestAllWhoAskShareOneAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		slot := flight.New(s.do, 0)
		for round := int64(1); round <= 3; round++ {
			var answers []<-chan error
			for range 10 {
				answers = append(answers, ask(t.Context(), slot))
			}
			s.answers <- errAnswer
			for _, answer := range answers {
				if err := <-answer; !errors.Is(err, errAnswer) {
					t.Errorf("answered %v", err)
				}
			}
			if got := s.requests.Load(); got != round {
				t.Errorf("%d requests after %d rounds", got, round)
			}
		}
	})
}

// The one who sent it too may go.
func TestWhoLeavesCostsTheOthersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		slot := flight.New(s.do, 0)
		first, cancel := context.WithCancelCause(t.Context())
		sender, joiner, another := ask(first, slot), ask(t.Context(), slot), ask(first, slot)
		synctest.Wait()
		cancel(backend.ErrClosed) // as Close does
		for _, left := range []<-chan error{sender, another} {
			if err := <-left; !errors.Is(err, backend.ErrClosed) {
				t.Errorf("who left was told %v", err)
			}
		}
		nothing(t, "the one who stayed", joiner)
		late := ask(t.Context(), slot)
		s.answers <- nil
		if err := errors.Join(<-joiner, <-late); err != nil {
			t.Error(err)
		}
		if got := s.requests.Load(); got != 1 {
			t.Errorf("%d requests", got)
		}
	})
}

func TestTheLastWhoLeavesEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.ended = make(chan error)
		slot := flight.New(s.do, 0)
		ctx, cancel := context.WithCancel(t.Context())
		one, two := ask(ctx, slot), ask(ctx, slot)
		synctest.Wait()
		cancel()
		synctest.Wait()
		// The request was told to end, and takes its time: the last of the two stays to see it end. Who asks
		// now gets another request.
		next := ask(t.Context(), slot)
		synctest.Wait()
		if got := s.requests.Load(); got != 2 {
			t.Errorf("%d requests, where the first was given up", got)
		}
		stays := one
		select {
		case <-one:
			stays = two
		case <-two:
		}
		nothing(t, "the last one", stays)
		if err := <-s.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the request ended with %v", err)
		}
		<-stays
		if got := s.alive.Load(); got != 1 {
			t.Errorf("%d requests alive after the first was left", got)
		}
		joiner := ask(t.Context(), slot) // of the second, though the first has ended since
		s.answers <- errAnswer
		if one, two := <-next, <-joiner; !errors.Is(one, errAnswer) || !errors.Is(two, errAnswer) || s.requests.Load() != 2 {
			t.Errorf("%d requests, answered %v and %v", s.requests.Load(), one, two)
		}
	})
}

// What was answered is answered, also while somebody has not taken the answer yet.
func TestAnAnswerIsForThoseWhoAskedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		slot := flight.New(s.do, 0)
		slow := slot.Board(t.Context())
		s.answers <- nil
		synctest.Wait()
		later := ask(t.Context(), slot)
		s.answers <- errAnswer
		if err := <-later; !errors.Is(err, errAnswer) {
			t.Errorf("who asked later was answered %v", err)
		}
		if err := slow.Await(t.Context()); err != nil {
			t.Errorf("who asked first was answered %v", err)
		}
	})
}

func TestOneThatHangsCostsOneAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		slot := flight.New(s.do, flight.Attempt(15*time.Second, 5*time.Second))
		began := time.Now()
		patient, brisk := ask(t.Context(), slot), ask(t.Context(), slot)
		for _, answer := range []<-chan error{patient, brisk} {
			if err := <-answer; !errors.Is(err, flight.ErrNoAnswer) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("answered %v", err)
			}
		}
		if took := time.Since(began); took != 1500*time.Millisecond {
			t.Errorf("a tenth of 15 s took %v", took)
		}
		next := ask(t.Context(), slot)
		s.answers <- nil
		if err := <-next; err != nil || s.requests.Load() != 2 {
			t.Errorf("the next attempt was request %d, answered %v", s.requests.Load(), err)
		}
		if bound := flight.Attempt(24*time.Hour, 5*time.Second); bound != 5*time.Second {
			t.Errorf("an attempt of a long TTL takes %v", bound)
		}
	})
}

func TestAnErrorInTimeStaysAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		answer := ask(t.Context(), flight.New(s.do, time.Second))
		s.answers <- errAnswer
		if err := <-answer; err != errAnswer { //nolint:errorlint // as it is
			t.Errorf("answered %v", err)
		}
	})
}

type key struct{}

func TestTheContextGivesItsValuesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := make(chan any, 1)
		slot := flight.New(func(ctx context.Context) error {
			seen <- ctx.Value(key{})
			return ctx.Err()
		}, 0)
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		cancel()
		f := slot.Board(ctx)
		defer f.Leave()
		if err := f.Await(t.Context()); err != nil {
			t.Errorf("a request that another joined ended with its sender: %v", err)
		}
		if v := <-seen; v != "value" {
			t.Errorf("the request saw %v", v)
		}
	})
}

// A request that ends its goroutine, as FailNow does in an interceptor of a test, is an error to those
// who wait, and in nobody's way afterwards.
func TestGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exits := true
		slot := flight.New(func(context.Context) error {
			if exits {
				exits = false
				runtime.Goexit()
			}
			return nil
		}, time.Second)
		if err := slot.Board(t.Context()).Await(t.Context()); err == nil {
			t.Error("a request that was never answered counts as answered")
		}
		if err := slot.Board(t.Context()).Await(t.Context()); err != nil {
			t.Errorf("the next request: %v", err)
		}
	})
}

// Many come and go at once, and all are served.
func TestManyComeAndGo(t *testing.T) {
	var alive, most atomic.Int64
	slot := flight.New(func(ctx context.Context) error {
		most.Store(max(most.Load(), alive.Add(1)))
		defer alive.Add(-1)
		select {
		case <-time.After(rand.N(100 * time.Microsecond)):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, time.Minute)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), rand.N(100*time.Microsecond))
				if err := slot.Board(ctx).Await(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("answered %v", err)
				}
				cancel()
			}
		})
	}
	all.Wait()
	if got := alive.Load(); got != 0 {
		t.Errorf("%d requests outlive their callers", got)
	}
	t.Logf("at most %d requests at once, those that were given up included", most.Load())
}
