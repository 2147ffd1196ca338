package rediskv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
	"github.com/hustings-go/hustings/backend/internal/errand"
)

// vigil listens to a key's events for one who leads or observes, and lets them take a turn whenever there is reason to: as
// soon as events are heard, and when it is due. No goroutine waits for that.
type vigil struct {
	b       *Backend
	values  context.Context                     //nolint:containedctx // it never ends, and is what a turn's context is made from
	turn    func(context.Context, *vigil) error // its error ends the vigil
	end     func(error)                         // tells why it ended by itself
	errand  *errand.Errand
	closing calls.Notice

	// Guarded by Backend.mu.

	ear    *ear                    // nil before it listens, and after
	begun  bool                    // there was a turn
	due    bool                    // there is reason for one
	timer  *time.Timer             // makes it due, or nil; until it has begun, because Redis does not confirm that events are heard
	halted error                   // why there is no turn any more
	cancel context.CancelCauseFunc // of the context of the turn under way
}

// errStopped halts a vigil that is stopped.
var errStopped = errors.New("nobody is to be told any more")

// keepVigil begins a vigil, which lasts until it is stopped, until Close, or until a turn fails. What of the events is
// reason for a turn, hear tells, which is called with b.mu held and must not block.
func (b *Backend) keepVigil(ctx context.Context, key string, hear func(*vigil, event), turn func(context.Context, *vigil) error, end func(error)) (stop func()) {
	v := &vigil{b: b, values: context.WithoutCancel(ctx), turn: turn, end: end}
	v.errand = errand.New(v.run)
	v.closing.Closed = func() {
		v.halt(backend.ErrClosed)
		v.errand.Call()
	}
	if err := b.calls.Tell(&v.closing); err != nil {
		return errand.Once(func() { end(err) })
	}
	b.mu.Lock()
	if v.halted == nil {
		v.dueIn(b.bound)
		v.ear = b.tune(ctx, key, func(ev event) { hear(v, ev) }, v.errand.Call)
	}
	b.mu.Unlock()
	v.errand.Call() // events may be heard already
	return v.stop
}

// stop may be called again, and waits each time.
func (v *vigil) stop() {
	v.halt(errStopped)
	v.errand.Stop()
	v.rest()
	v.b.calls.Forget(&v.closing)
}

// halt ends the turn under way, and lets there be no further ones.
func (v *vigil) halt(why error) {
	v.b.mu.Lock()
	defer v.b.mu.Unlock()
	if v.halted == nil {
		v.halted = why
	}
	if v.cancel != nil {
		v.cancel(v.halted)
	}
}

// ring makes a turn due.
func (v *vigil) ring() {
	v.b.mu.Lock()
	defer v.b.mu.Unlock()
	v.call()
}

// call is ring with Backend.mu held.
func (v *vigil) call() {
	v.due = true
	v.errand.Call()
}

// dueIn makes a turn due after a while. Backend.mu must be held.
func (v *vigil) dueIn(wait time.Duration) {
	if v.timer == nil {
		v.timer = time.AfterFunc(wait, v.ring)
		return
	}
	v.timer.Reset(wait)
}

// run takes a turn if there is reason to.
func (v *vigil) run() {
	ctx, cancel := context.WithCancelCause(v.values)
	defer v.turned(cancel)
	due, err := v.reason(cancel)
	if due {
		err = v.turn(ctx, v)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil || errors.Is(err, errStopped) {
		return
	}
	v.errand.Retire()
	v.rest()
	v.end(err)
}

// reason reports whether there is reason for a turn, which cancel ends, or why the vigil is over.
func (v *vigil) reason(cancel context.CancelCauseFunc) (due bool, _ error) {
	v.b.mu.Lock()
	defer v.b.mu.Unlock()
	if v.halted != nil {
		return false, v.halted
	}
	v.cancel = cancel
	due, v.due = v.due, false
	ready, err := v.ear.state()
	switch {
	case err != nil:
		return false, err
	case !ready && due:
		return false, fmt.Errorf("%w to a subscription within %v", errNoAnswer, v.b.bound)
	case ready && !v.begun:
		v.begun, due = true, true
		v.timer.Stop()
		v.timer = nil // not all need one from then on
	}
	return due, nil
}

// turned ends a turn's context, and lets go of it: there may be no other turn for long.
func (v *vigil) turned(cancel context.CancelCauseFunc) {
	v.b.mu.Lock()
	v.cancel = nil
	v.b.mu.Unlock()
	cancel(nil)
}

// rest lets go of what the vigil held.
func (v *vigil) rest() {
	v.b.mu.Lock()
	ear := v.ear
	v.ear = nil
	v.b.mu.Unlock()
	if ear == nil {
		return
	}
	ear.leave() // from then on nothing sets the timer
	v.b.mu.Lock()
	defer v.b.mu.Unlock()
	if v.timer != nil {
		v.timer.Stop()
	}
}
