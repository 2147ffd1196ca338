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
	values  context.Context             //nolint:containedctx // of the caller, and not its end: turns have a context of their own
	turn    func(context.Context) error // looks, and has the ear listen to what would change it
	end     func(error)                 // is told why a turn failed, which ends the vigil
	ear     ear
	errand  *errand.Errand
	closing calls.Notice
	silence *time.Timer                        // calls when nothing has come for long; or nil
	stopped atomic.Bool                        // nobody is to be told any more
	under   atomic.Pointer[context.CancelFunc] // ends the turn under way
	session *session                           // what the ear listens on: the turns' own, and after the last one stop's
}

// errStopped is the end of a turn that began after stop.
var errStopped = errors.New("stopped")

// begin has the first turn taken. It lasts until stop, until Close, or until a turn fails. With patient, nothing but an event has a
// turn taken; else it is also a new connection, and a long silence.
func (v *vigil) begin(ctx context.Context, patient bool) error {
	v.values = context.WithoutCancel(ctx)
	v.errand = errand.New(v.run)
	v.ear.call = func(kind zk.EventType) {
		if !patient || kind != zk.EventSession {
			v.errand.Call()
		}
	}
	v.closing.Closed = v.errand.Call
	if !patient {
		v.silence = time.AfterFunc(lookAfter*v.b.ttl, v.errand.Call)
	}
	if err := v.b.calls.Tell(&v.closing); err != nil {
		v.rest()
		return err
	}
	v.errand.Call()
	return nil
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
		v.end(err)
	}
}

// take takes a turn.
func (v *vigil) take() error {
	ctx, cancel := context.WithCancel(v.values)
	defer cancel()
	v.under.Store(&cancel)
	if v.stopped.Load() {
		return errStopped
	}
	ctx, leave, err := v.b.calls.Enter(ctx, false)
	if err != nil {
		return err
	}
	defer leave()
	if err = v.turn(ctx); ctx.Err() != nil {
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
