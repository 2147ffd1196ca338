package consul

import (
	"context"
	"errors"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/retry"
)

// pulse keeps a session alive for one candidate that waits: a keep-alive every third of the TTL, shared
// with all others on the session. It is used by one goroutine.
type pulse struct {
	b     *Backend
	s     *session
	timer *time.Timer
	air   *flight
}

func newPulse(b *Backend, s *session) *pulse {
	p := &pulse{b: b, s: s, timer: time.NewTimer(0)}
	p.rearm()
	return p
}

// rearm sets the timer to a third of the TTL after the session's latest attempt, whoever made it.
func (p *pulse) rearm() {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	p.timer.Reset(p.s.grant.TTL/3 - backend.Now().Since(p.s.attempted))
}

// due fires when it may be time to send.
func (p *pulse) due() <-chan time.Time { return p.timer.C }

// send joins or starts the keep-alive, unless another's made it needless.
func (p *pulse) send(ctx context.Context) {
	p.b.mu.Lock()
	due := backend.Now().Since(p.s.attempted) >= p.s.grant.TTL/3
	if due && p.air == nil {
		p.air = p.b.renewal(ctx, p.s)
	}
	p.b.mu.Unlock()
	if !due {
		p.rearm()
	}
}

// answered is closed when the keep-alive that this candidate waits for has ended.
func (p *pulse) answered() <-chan struct{} {
	if p.air == nil {
		return nil
	}
	return p.air.done
}

// check takes the answer. One failure is borne in silence, because the place in the queue is worth a
// second try; not so one that no try can mend, the loss of the session, or two thirds of a TTL without
// any answer.
func (p *pulse) check() error {
	err := p.air.err
	p.b.leave(&p.s.renewing, p.air)
	p.air = nil
	p.rearm()
	if err == nil {
		return nil
	}
	p.b.mu.Lock()
	silent := backend.Now().Since(p.s.grant.Sent)
	bearable := silent < p.s.grant.TTL*2/3 && !p.s.over
	p.b.mu.Unlock()
	marked := classify(err)
	if bearable && !retry.IsPermanent(marked) && !errors.Is(marked, backend.ErrDenied) {
		return nil
	}
	return err
}

// stop ends the candidate's part in it.
func (p *pulse) stop() {
	p.timer.Stop()
	if p.air != nil {
		p.b.leave(&p.s.renewing, p.air)
	}
}
