package rediskv

import (
	"context"
	"fmt"
	"time"

	"github.com/hustings-go/hustings/backend/internal/calls"
)

// vigil listens to a key's events for one who leads or observes, and lets them take a turn whenever there is reason to: as
// soon as events are heard, and when it is due.
type vigil struct {
	*calls.Vigil
	b    *Backend
	turn func(context.Context, *vigil) error

	// Guarded by Backend.mu.

	ear   *ear
	begun bool        // there was a turn
	due   bool        // there is reason for one
	timer *time.Timer // makes it due, or nil; until it has begun, because Redis does not confirm that events are heard
}

// keepVigil begins a vigil, which lasts until it is stopped, until Close, or until a turn fails. What of the events is
// reason for a turn, hear tells, which is called with b.mu held and must not block.
func (b *Backend) keepVigil(ctx context.Context, key string, hear func(*vigil, event), turn func(context.Context, *vigil) error, end func(error)) (stop func()) {
	v := &vigil{b: b, turn: turn}
	v.Vigil = b.calls.Vigil(ctx, v.take, v.rest, end)
	b.mu.Lock()
	v.dueIn(b.bound)
	v.ear = b.tune(ctx, key, func(ev event) { hear(v, ev) }, v.Call)
	b.mu.Unlock()
	return v.Begin()
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
	v.Call()
}

// dueIn makes a turn due after a while. Backend.mu must be held.
func (v *vigil) dueIn(wait time.Duration) {
	if v.timer == nil {
		v.timer = time.AfterFunc(wait, v.ring)
		return
	}
	v.timer.Reset(wait)
}

// take takes a turn if there is reason to.
func (v *vigil) take(ctx context.Context) error {
	due, err := v.reason()
	if due {
		err = v.turn(ctx, v)
	}
	return err
}

// reason reports whether there is reason for a turn, or why there will be none.
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
		v.timer = nil // not all need one from then on
	}
	return due, nil
}

func (v *vigil) rest() {
	v.ear.leave() // from then on nothing sets the timer
	v.b.mu.Lock()
	defer v.b.mu.Unlock()
	if v.timer != nil {
		v.timer.Stop()
	}
}
