package zookeeper

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend/internal/calls"
	"github.com/hustings-go/hustings/backend/internal/errand"
)

// lookAfter is how many TTLs without any event it takes until it is looked whether a watch fell silent: one that the servers
// or the client forgot, for all that is known to happen tells by an event. What is at stake is when a vacant key is
// taken, never who leads.
const lookAfter = 4

// vigil lets somebody who leads or observes take a turn whenever there may be something to see: one at a time, in a goroutine
// that lasts no longer. Nobody waits for an event: who calls is the client, when one comes, and Close.
type vigil struct {
	b       *Backend
	values  context.Context //nolint:containedctx // of the caller, and not its end: turns have a context of their own
	keeper  keeper
	ear     ear
	errand  *errand.Errand
	closing calls.Notice
	silence *time.Timer                        // calls when nothing has come for long; or nil
	stopped atomic.Bool                        // nobody is to be told any more
	under   atomic.Pointer[context.CancelFunc] // ends the turn under way
	session *session                           // what the ear listens on: the turns' own, and after the last one stop's
}

// keeper is who keeps a vigil.
type keeper interface {
	// turn looks, and has the ear listen to what would change what it saw.
	turn(ctx context.Context) error
	// failed is told why a turn failed, which ends the vigil.
	failed(err error)
}

// errStopped is the end of a turn that began after stop.
var errStopped = errors.New("stopped")

// begin has the first turn taken, unless the Backend is closed. The vigil lasts until stop, until Close, or until a turn
// fails. If the keeper is not patient, a turn is taken also when the watches were set on a new connection, and after a long silence.
func (v *vigil) begin(ctx context.Context, k keeper, patient bool) error {
	v.keeper, v.values = k, context.WithoutCancel(ctx)
	v.errand = errand.New(v.run)
	call := v.errand.Call
	v.ear.who = v
	v.closing.Closed = call
	if !patient {
		v.silence = time.AfterFunc(lookAfter*v.b.ttl, call)
	}
	if err := v.b.calls.Tell(&v.closing); err != nil {
		v.rest()
		return err
	}
	call()
	return nil
}

// heard has a turn taken because of an event.
func (v *vigil) heard(_ *ear, kind zk.EventType) {
	if kind != zk.EventSession || v.silence != nil {
		v.errand.Call()
	}
}

func (v *vigil) run() {
	err := v.take()
	switch {
	case v.stopped.Load():
	case err == nil && v.silence != nil:
		v.silence.Reset(lookAfter * v.b.ttl)
	case err != nil:
		v.errand.Retire()
		v.rest()
		v.keeper.failed(err)
	}
}

// take takes a turn.
func (v *vigil) take() error {
	ctx, cancel := context.WithCancel(v.values)
	defer cancel()
	v.under.Store(&cancel)
	defer v.under.Store(nil)
	if v.stopped.Load() {
		return errStopped
	}
	ctx, leave, err := v.b.calls.Enter(ctx, false)
	if err != nil {
		return err
	}
	defer leave()
	if err = v.keeper.turn(ctx); ctx.Err() != nil {
		err = calls.Ended(ctx)
	}
	return err
}

// rest lets go of what the vigil holds.
func (v *vigil) rest() {
	v.b.calls.Forget(&v.closing)
	if v.silence != nil {
		v.silence.Stop()
	}
	if v.session != nil {
		v.session.ignore(&v.ear)
	}
}

// stop ends the vigil, and the turn under way, which it waits for. It may be called again.
func (v *vigil) stop() {
	v.stopped.Store(true)
	if cancel := v.under.Load(); cancel != nil {
		(*cancel)()
	}
	v.errand.Stop()
	v.rest()
}
