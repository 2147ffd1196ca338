package flight

import (
	"context"
	"sync"
	"time"
)

// Rounds sends what many ask in few requests, as group commit does. A question is sent at once when nothing is
// in the air; else it gathers with others until what was sent before is answered, but not for long. So
// who asks alone waits for nobody, a request that hangs holds up no later ones, and no question is
// answered by what was sent before it was put. One caller's end costs the others nothing; the last one's ends the request.
// It is safe for concurrent use, and its lock is held across no call.
type Rounds[Q any] struct {
	// Room reports whether those that gather may be joined by one more. If not, they go out at once, whatever is in the air. With
	// none set there is always room.
	Room func(gathered []Q, question Q) bool

	// Pause is for how long a question waits for others though nothing is in the air. With none set, not at all.
	Pause func(question Q) time.Duration

	send     func(context.Context, []Q) []error
	patience time.Duration

	mu        sync.Mutex
	gathering *round[Q]     // may still be joined, or nil
	air       chan struct{} // closed with the end of what was sent last; nil after that
}

// round is questions that go out together.
type round[Q any] struct {
	slot      *Slot
	questions []Q
	before    <-chan struct{} // closed when what was sent before has ended
	patience  time.Duration   // how long it gathers at most
	full      chan struct{}   // closed when there is no more room
	answers   []error         // one for each question
}

// NewRounds makes Rounds that send sends: it must bound itself, and return one answer for each question.
// Patience is for how long questions gather at most: much longer than an answer takes, unless it hangs,
// and much less than a caller waits. Room and Pause may be set before the first Ask, and are called one at a time.
func NewRounds[Q any](patience time.Duration, send func(context.Context, []Q) []error) *Rounds[Q] {
	return &Rounds[Q]{send: send, patience: patience}
}

// Ask puts one question, and returns the answer to it, or the end of ctx, which is one that a call of
// the Backend began with.
func (rs *Rounds[Q]) Ask(ctx context.Context, question Q) error {
	rs.mu.Lock()
	r := rs.gathering
	if r != nil && rs.Room != nil && !rs.Room(r.questions, question) {
		close(r.full)
		r = nil
	}
	if r == nil {
		r = rs.gather(question)
		rs.gathering = r
	}
	mine := len(r.questions)
	r.questions = append(r.questions, question)
	f := r.slot.Board(ctx)
	rs.mu.Unlock()
	if err := f.Await(ctx); err != nil {
		return err
	}
	return r.answers[mine]
}

// gather makes the round that begins with question. rs.mu must be held.
func (rs *Rounds[Q]) gather(question Q) *round[Q] {
	r := &round[Q]{before: rs.air, full: make(chan struct{})}
	r.slot = New(func(ctx context.Context) error { return rs.run(ctx, r) }, 0)
	switch {
	case rs.air != nil:
		r.patience = rs.patience
	case rs.Pause != nil:
		r.patience = min(rs.Pause(question), rs.patience)
	}
	return r
}

// run waits until r may go, closes it to further questions, and sends it.
func (rs *Rounds[Q]) run(ctx context.Context, r *round[Q]) error {
	if r.patience > 0 {
		patience := time.NewTimer(r.patience)
		defer patience.Stop()
		select {
		case <-r.before:
		case <-r.full:
		case <-patience.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	rs.mu.Lock()
	if ctx.Err() != nil {
		rs.mu.Unlock()
		return ctx.Err() // all had left, and who has joined since sends it
	}
	if rs.gathering == r {
		rs.gathering = nil
	}
	air := make(chan struct{})
	rs.air = air
	rs.mu.Unlock()
	defer rs.land(air)
	r.answers = rs.send(ctx, r.questions)
	return nil
}

func (rs *Rounds[Q]) land(air chan struct{}) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.air == air {
		rs.air = nil
	}
	close(air)
}
