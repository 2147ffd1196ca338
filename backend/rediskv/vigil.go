package rediskv

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hustings-go/hustings/backend/internal/calls"
	"github.com/hustings-go/hustings/backend/internal/errand"
)

// vigil listens to a key's events for one who leads or observes, and lets them take a turn whenever there is reason to: as
// soon as events are heard, and when it is due. No goroutine waits for that.
type vigil struct {
	b      *Backend
	ctx    context.Context                     //nolint:containedctx // made by calls.Enter: it ends with Close, or when the vigil is stopped
	turn   func(context.Context, *vigil) error // its error ends the vigil
	end    func(error)                         // tells why it ended by itself
	errand *errand.Errand

	stopped atomic.Bool // nobody is to be told any more

	// Guarded by Backend.mu.

	ear   *ear
	begun bool        // there was a turn
	due   bool        // there is reason for one
	timer *time.Timer // makes it due: until it has begun, because Redis does not confirm that events are heard
}

// keepVigil begins a vigil, which lasts until it is stopped, until Close, or until a turn fails. What of the events is
// reason for a turn, hear tells, which is called with b.mu held and must not block.
func (b *Backend) keepVigil(ctx context.Context, key string, hear func(*vigil, event), turn func(context.Context, *vigil) error, end func(error)) (stop func()) {
	ctx, leave, err := b.calls.Enter(context.WithoutCancel(ctx), false)
	if err != nil {
		return tellOnce(func() { end(err) })
	}
	v := &vigil{b: b, ctx: ctx, turn: turn, end: end}
	v.errand = errand.New(v.run)
	b.mu.Lock()
	v.timer = time.AfterFunc(b.bound, v.ring)
	v.ear = b.tune(ctx, key, func(ev event) { hear(v, ev) }, v.errand.Call)
	b.mu.Unlock()
	unbind := context.AfterFunc(ctx, v.errand.Call)
	v.errand.Call() // events may be heard already
	return sync.OnceFunc(func() {
		v.stopped.Store(true)
		unbind()
		leave()
		v.errand.Stop()
		v.rest()
	})
}

// tellOnce has something told that there is to tell, and no more.
func tellOnce(tell func()) (stop func()) {
	e := errand.New(tell)
	e.Call()
	return e.Stop
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

// run takes a turn if there is reason to.
func (v *vigil) run() {
	due, err := v.reason()
	if due {
		err = v.turn(v.ctx, v)
	}
	if v.ctx.Err() != nil {
		err = calls.Ended(v.ctx)
	}
	if err == nil || v.stopped.Load() {
		return
	}
	v.errand.Retire()
	v.rest()
	v.end(err)
}

// reason reports whether there is reason for a turn, or why the vigil is over.
func (v *vigil) reason() (due bool, _ error) {
	v.b.mu.Lock()
	defer v.b.mu.Unlock()
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
	}
	return due, nil
}

// rest lets go of what the vigil held.
func (v *vigil) rest() {
	v.b.mu.Lock()
	ear := v.ear
	v.ear = nil
	v.timer.Stop()
	v.b.mu.Unlock()
	if ear != nil {
		ear.leave()
	}
}
