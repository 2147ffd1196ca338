package etcd

import (
	"context"
	"errors"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/hustings-go/hustings/backend/internal/calls"
)

// vigil watches something for one who leads or observes, and gives them a turn whenever there is news.
type vigil struct {
	*calls.Vigil
	b       *Backend
	watched *watch      // the turns' own, and after the last one rest's
	due     atomic.Bool // it is time to look whether the watch fell silent
}

// keeper is who keeps a vigil.
type keeper interface {
	turn(context.Context, news) error // an error ends the vigil
	end(error)                        // tells the error that it ended with; not called once it was stopped
}

// news is what a turn is about.
type news struct {
	events []*mvccpb.Event
	look   bool // it is time to look
	anew   bool // nothing is watched: the store is to be read, and watched from there on
}

// keep begins a vigil that lasts until it is stopped, until Close, or until a turn fails. For a term, if there is one, it goes on with
// the watch of the campaign, and is told as well when the session is over.
func (b *Backend) keep(ctx context.Context, term *candidacy, v *vigil, who keeper) (stop func()) {
	v.b = b
	v.Vigil = b.calls.Vigil(ctx, func(ctx context.Context) error { return v.take(ctx, who) }, v.rest, who.end)
	b.mu.Lock()
	if term == nil {
		b.vigils[v] = nil
		b.observed(+1)
	} else {
		b.vigils[v] = term.session
		if v.watched = term.watch; v.watched != nil {
			b.watches.pass(v.watched, v.Call)
			term.watch = nil
		}
	}
	b.mu.Unlock()
	return v.Begin()
}

// take gives the keeper a turn.
func (v *vigil) take(ctx context.Context, who keeper) (err error) {
	n := news{look: v.due.Swap(false), anew: v.watched == nil}
	if v.watched != nil {
		n.events, err = v.b.watches.take(v.watched)
	}
	if errors.Is(err, rpctypes.ErrCompacted) {
		n.anew, err = true, nil // what was not heard of is not there to be told any more
	}
	if err != nil {
		return err
	}
	return who.turn(ctx, n)
}

// watch watches from revision next on, in the place of what was watched before. A turn calls it.
func (v *vigil) watch(s subject, next int64) {
	before := v.watched
	v.watched = v.b.watches.open(s, next, v.Call)
	if before != nil {
		v.b.watches.close(before)
	}
}

// lookNow has a turn look whether the watch fell silent.
func (v *vigil) lookNow() {
	v.due.Store(true)
	v.Call()
}

func (v *vigil) rest() {
	v.b.mu.Lock()
	if v.b.vigils[v] == nil {
		v.b.observed(-1)
	}
	delete(v.b.vigils, v)
	v.b.mu.Unlock()
	if v.watched != nil {
		v.b.watches.close(v.watched)
	}
}
