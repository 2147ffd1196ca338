package zookeeper

import (
	"context"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend/internal/calls"
)

// lookAfter is how many TTLs without any event it takes until it is looked whether a watch fell silent: one that the servers
// or the client forgot, for all that is known to happen tells by an event. What is at stake is when a vacant key is
// taken, never who leads.
const lookAfter = 4

// vigil is one that is called for by events. Nobody waits for them: who calls is the client, when one comes.
type vigil struct {
	*calls.Vigil
	b       *Backend
	ear     ear
	silence *time.Timer // calls when nothing has come for long; or nil
	session *session    // what the ear listens on: the turns' own, and after the last one rest's
}

// keeper is who keeps a vigil.
type keeper interface {
	// turn looks, and has the ear listen to what would change what it saw.
	turn(ctx context.Context) error
	// failed is told why the vigil ended by itself.
	failed(err error)
}

// begin begins the vigil. If the keeper is not patient, a turn is taken also when the watches were set on a new connection, and
// after a long silence.
func (v *vigil) begin(ctx context.Context, k keeper, patient bool) (stop func()) {
	v.Vigil = v.b.calls.Vigil(ctx, func(ctx context.Context) error { return v.take(ctx, k) }, v.rest, k.failed)
	v.ear.who = v
	if !patient {
		v.silence = time.AfterFunc(lookAfter*v.b.ttl, v.Call)
	}
	return v.Begin()
}

// heard has a turn taken because of an event.
func (v *vigil) heard(_ *ear, kind zk.EventType) {
	if kind != zk.EventSession || v.silence != nil {
		v.Call()
	}
}

func (v *vigil) take(ctx context.Context, k keeper) error {
	err := k.turn(ctx)
	if err == nil && v.silence != nil {
		v.silence.Reset(lookAfter * v.b.ttl)
	}
	return err
}

func (v *vigil) rest() {
	if v.silence != nil {
		v.silence.Stop()
	}
	if v.session != nil {
		v.session.ignore(&v.ear)
	}
}
