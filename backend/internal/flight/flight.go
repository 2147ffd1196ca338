package flight

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
)

// ErrNoAnswer says that a request ran into the bound of its Slot.
var ErrNoAnswer = errors.New("no answer")

// errAborted says that a request ended its goroutine instead of returning.
var errAborted = errors.New("the request was broken off")

// Slot is a kind of request of which one at most is in the air. Who asks while one is waits for the same
// answer: one caller's end costs the others nothing, the last one's ends the request, and
// no goroutine outlives the callers. It is safe for concurrent use, and its lock is held across no call.
type Slot struct {
	do    func(context.Context) error
	bound time.Duration

	mu    sync.Mutex
	air   *Flight
	began backend.Instant // the latest one
	used  bool            // there was one
}

// Flight is one request in the air.
type Flight struct {
	slot    *Slot
	cancel  context.CancelFunc
	done    chan struct{} // closed when err is set
	err     error
	callers int // guarded by slot.mu
}

// New makes a Slot of requests that do makes. One that is not answered within bound ends with ErrNoAnswer,
// so that it costs those who share it one attempt, and the next attempt is another request, however long
// its callers are ready to wait. With no bound, do must have its own.
func New(do func(context.Context) error, bound time.Duration) *Slot {
	return &Slot{do: do, bound: bound}
}

// Attempt is how long a renewal may take that is shared: a tenth of the TTL, the time that an election gives
// each of its three attempts, and no more than the longest that any request may take.
func Attempt(ttl, longest time.Duration) time.Duration { return min(ttl/10, longest) }

// Board joins the request in the air, or sends one. It does not block. Each Board is followed by one Leave, or
// by one Await. The context gives the request its values, and not its end.
func (s *Slot) Board(ctx context.Context) *Flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.board(ctx)
}

// boardAfter is Board if the latest request began pause ago or more, and else returns nil. A Slot in which
// there was none yet counts from start.
func (s *Slot) boardAfter(ctx context.Context, pause time.Duration, start backend.Instant) *Flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.age(start) < pause {
		return nil
	}
	return s.board(ctx)
}

// idle is the time since the latest request began, or since start if there was none yet.
func (s *Slot) idle(start backend.Instant) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.age(start)
}

// age is idle with s.mu held.
func (s *Slot) age(start backend.Instant) time.Duration {
	if s.used {
		start = s.began
	}
	return backend.Now().Since(start)
}

func (s *Slot) board(ctx context.Context) *Flight {
	if f := s.air; f != nil {
		f.callers++
		return f
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &Flight{slot: s, cancel: cancel, done: make(chan struct{}), err: errAborted, callers: 1}
	s.air, s.began, s.used = f, backend.Now(), true
	go f.fly(ctx)
	return f
}

// fly makes the request. Its end is told in any case, also when do ends the goroutine, as the tests'
// FailNow does.
func (f *Flight) fly(ctx context.Context) {
	defer close(f.done)
	defer f.cancel()
	defer f.land()
	f.err = f.slot.bounded(ctx)
}

func (s *Slot) bounded(ctx context.Context) error {
	if s.bound <= 0 {
		return s.do(ctx)
	}
	bounded, cancel := context.WithTimeout(ctx, s.bound)
	defer cancel()
	err := s.do(bounded)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		return fmt.Errorf("%w within %v: %w", ErrNoAnswer, s.bound, err)
	}
	return err
}

// land makes room for the next request.
func (f *Flight) land() {
	f.slot.mu.Lock()
	defer f.slot.mu.Unlock()
	if f.slot.air == f {
		f.slot.air = nil
	}
}

// Leave takes one caller off the request. The last one cancels it and sees it end; who asks meanwhile sends
// another.
func (f *Flight) Leave() {
	f.slot.mu.Lock()
	f.callers--
	last := f.callers == 0
	if last {
		f.cancel() // before another one is sent
		if f.slot.air == f {
			f.slot.air = nil
		}
	}
	f.slot.mu.Unlock()
	if last {
		<-f.done
	}
}

// Await waits for the answer, or for the end of ctx, which is one that a call of the Backend began with, and
// leaves.
func (f *Flight) Await(ctx context.Context) error {
	defer f.Leave()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return calls.Ended(ctx)
	}
}
