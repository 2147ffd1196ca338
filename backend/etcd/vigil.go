package etcd

import (
	"context"
	"errors"
	"sync"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/errand"
)

// vigil watches something for one who leads or observes, and gives them a turn whenever there is news. No goroutine, and no
// context, waits for it.
type vigil struct {
	b      *Backend
	values context.Context //nolint:containedctx // the caller's values alone, for the requests of turns
	who    keeper
	errand *errand.Errand

	watched *watch // the turns' own, and after the last one stop's
	ending  sync.Once

	mu     sync.Mutex
	over   error                   // why there are no turns any more
	cancel context.CancelCauseFunc // ends the turn under way
	due    bool                    // it is time to look whether the watch fell silent
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

// errLeft says that nobody is to be told any more.
var errLeft = errors.New("the caller left")

// keep begins a vigil that lasts until it is stopped, until Close, or until a turn fails. For a term, if there is one, it goes on with
// the watch of the campaign, and is told as well when the session is over.
func (b *Backend) keep(ctx context.Context, term *candidacy, v *vigil, who keeper) (stop func(), _ error) {
	v.b, v.values, v.who = b, context.WithoutCancel(ctx), who
	v.errand = errand.New(v.run)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, backend.ErrClosed
	}
	if term == nil {
		b.vigils[v] = nil
		b.observed(+1)
	} else {
		b.vigils[v] = term.session
		if v.watched = term.watch; v.watched != nil {
			b.watches.pass(v.watched, v.call)
			term.watch = nil
		}
	}
	v.call()
	return v.stop, nil
}

func (v *vigil) call() { v.errand.Call() }

// halt ends the turn under way, and lets there be one more, for err.
func (v *vigil) halt(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over == nil || errors.Is(err, errLeft) {
		v.over = err
	}
	if v.cancel != nil {
		v.cancel(err)
	}
	v.call()
}

// run takes a turn.
func (v *vigil) run() {
	ctx, cancel := context.WithCancelCause(v.values)
	defer cancel(nil)
	v.mu.Lock()
	v.cancel = cancel
	look, err := v.due, v.over
	v.due = false
	v.mu.Unlock()
	if err == nil {
		err = v.take(ctx, look)
	}
	v.mu.Lock()
	v.cancel = nil
	if v.over != nil {
		err = v.over // and not what came of it
	}
	v.mu.Unlock()
	if err == nil || errors.Is(err, errLeft) {
		return
	}
	v.errand.Retire()
	v.rest()
	v.who.end(err)
}

// take gives the keeper a turn.
func (v *vigil) take(ctx context.Context, look bool) (err error) {
	n := news{look: look, anew: v.watched == nil}
	if v.watched != nil {
		n.events, err = v.b.watches.take(v.watched)
	}
	if errors.Is(err, rpctypes.ErrCompacted) {
		n.anew, err = true, nil // what was not heard of is not there to be told any more
	}
	if err != nil {
		return err
	}
	return v.who.turn(ctx, n)
}

// watch watches from revision next on, in the place of what was watched before. A turn calls it.
func (v *vigil) watch(s subject, next int64) {
	before := v.watched
	v.watched = v.b.watches.open(s, next, v.call)
	if before != nil {
		v.b.watches.close(before)
	}
}

// lookNow has a turn look whether the watch fell silent.
func (v *vigil) lookNow() {
	v.mu.Lock()
	v.due = true
	v.mu.Unlock()
	v.call()
}

// rest lets go of what the vigil held.
func (v *vigil) rest() {
	v.b.mu.Lock()
	if s, on := v.b.vigils[v]; on {
		delete(v.b.vigils, v)
		if s == nil {
			v.b.observed(-1)
		}
	}
	v.b.mu.Unlock()
	if v.watched != nil {
		v.b.watches.close(v.watched)
		v.watched = nil
	}
}

// stop ends the vigil, and the turn under way, which is waited for.
func (v *vigil) stop() {
	v.ending.Do(func() {
		v.halt(errLeft)
		v.errand.Stop()
		v.rest()
	})
}
