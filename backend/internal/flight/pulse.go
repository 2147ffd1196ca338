package flight

import (
	"context"
	"errors"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/retry"
)

// Pulse keeps a session alive for one candidate that waits: a renewal every third of the TTL, shared with
// all others on the session. It is used by one goroutine.
type Pulse struct {
	slot     *Slot
	promised func() (latest backend.Grant, over bool)
	classify func(error) error
	timer    *time.Timer
	air      *Flight
}

// NewPulse makes a Pulse that renews by slot. What the store has promised last for the session, and whether the
// session is over, is told by promised; what an error of a renewal means to an election, by classify.
// The Pulse must be stopped.
func NewPulse(slot *Slot, promised func() (latest backend.Grant, over bool), classify func(error) error) *Pulse {
	p := &Pulse{slot: slot, promised: promised, classify: classify}
	p.timer = time.NewTimer(p.rest())
	return p
}

// rest is the time until a third of the TTL has passed since the session's latest attempt, whoever made
// it. A session that was never renewed counts from its beginning.
func (p *Pulse) rest() time.Duration {
	latest, _ := p.promised()
	return latest.TTL/3 - p.slot.idle(latest.Sent)
}

// Due fires when it may be time to Send.
func (p *Pulse) Due() <-chan time.Time { return p.timer.C }

// Send joins or starts the renewal, unless another's made it needless.
func (p *Pulse) Send(ctx context.Context) {
	if p.air != nil {
		return
	}
	latest, _ := p.promised()
	if p.air = p.slot.boardAfter(ctx, latest.TTL/3, latest.Sent); p.air == nil {
		p.timer.Reset(p.rest())
	}
}

// Answered is closed when the renewal that this candidate waits for has ended, which is to be followed by
// Check. It is nil while there is none.
func (p *Pulse) Answered() <-chan struct{} {
	if p.air == nil {
		return nil
	}
	return p.air.done
}

// Check takes the answer. One failure is borne in silence, because the place in the queue is worth a
// second try; not so one that no try can mend, the loss of the session, or two thirds of a TTL without
// any answer.
func (p *Pulse) Check() error {
	err := p.air.err
	p.air.Leave()
	p.air = nil
	p.timer.Reset(p.rest())
	if err == nil {
		return nil
	}
	latest, over := p.promised()
	bearable := !over && backend.Now().Since(latest.Sent) < latest.TTL*2/3
	marked := p.classify(err)
	if bearable && !retry.IsPermanent(marked) && !errors.Is(marked, backend.ErrDenied) {
		return nil
	}
	return err
}

// Stop ends the candidate's part in it.
func (p *Pulse) Stop() {
	p.timer.Stop()
	if p.air != nil {
		p.air.Leave()
		p.air = nil
	}
}
