package flight

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Rounds sends what many ask in few requests, as group commit does. A question is sent at once when nothing is
// in the air; else it gathers with others until what was sent before is answered, but not for long. So
// who asks alone waits for nobody, a request that hangs holds up no later ones, and no question is
// answered by what was sent before it was put. One caller's end costs the others nothing; the last one's ends the request.
// It is safe for concurrent use, and its lock is held across no call.
type Rounds[Q any] struct {
	send     func(context.Context, []Q) []error
	patience time.Duration

	mu        sync.Mutex
	gathering *round[Q]     // may still be joined, or nil
	air       chan struct{} // closed with the end of what was sent last; nil before the first
}

// round is questions that go out together.
type round[Q any] struct {
	slot      *Slot
	questions []Q
	before    <-chan struct{} // closed when what was sent before has ended, or nil
	sent      bool
	answers   []error // one for each question
}

// errGone says that a round was sent for callers who had all left, before this one joined.
var errGone = errors.New("the round was sent already")

// NewRounds makes Rounds that send sends: it must bound itself, and return one answer for each question.
// Patience is for how long questions gather at most: much longer than an answer takes, unless it hangs,
// and much less than a caller waits.
func NewRounds[Q any](patience time.Duration, send func(context.Context, []Q) []error) *Rounds[Q] {
	return &Rounds[Q]{send: send, patience: patience}
}

// Ask puts one question, and returns the answer to it, or the end of ctx, which is one that a call of
// the Backend began with.
func (rs *Rounds[Q]) Ask(ctx context.Context, question Q) error {
	for {
		rs.mu.Lock()
		r := rs.gathering
		if r == nil {
			r = &round[Q]{before: rs.air}
			r.slot = New(func(ctx context.Context) error { return rs.run(ctx, r) }, 0)
			rs.gathering = r
		}
		mine := len(r.questions)
		r.questions = append(r.questions, question)
		f := r.slot.Board(ctx)
		rs.mu.Unlock()
		switch err := f.Await(ctx); {
		case err == nil:
			return r.answers[mine]
		case !errors.Is(err, errGone):
			return err
		}
	}
}

// run waits until r may go, closes it to further questions, and sends it.
func (rs *Rounds[Q]) run(ctx context.Context, r *round[Q]) error {
	if r.before != nil {
		patience := time.NewTimer(rs.patience)
		defer patience.Stop()
		select {
		case <-r.before:
		case <-patience.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	rs.mu.Lock()
	if r.sent {
		rs.mu.Unlock()
		return errGone
	}
	r.sent = true
	if rs.gathering == r {
		rs.gathering = nil
	}
	air := make(chan struct{})
	rs.air = air
	rs.mu.Unlock()
	defer close(air)
	r.answers = rs.send(ctx, r.questions)
	return nil
}
