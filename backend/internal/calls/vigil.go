package calls

import (
	"context"
	"errors"
	"sync"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/errand"
)

// Vigil lets one who leads or observes take turns whenever there may be news: one at a time, each in a goroutine that lasts
// no longer. Nobody waits for news, and no context is made for that. A Vigil lasts until it is stopped, until Close, or until a
// turn fails. It is safe for concurrent use.
type Vigil struct {
	open    *Open
	values  context.Context //nolint:containedctx // the caller's, without its end: the contexts of turns are made from it
	turn    func(context.Context) error
	rest    func()
	end     func(error)
	errand  *errand.Errand
	resting sync.Once

	mu     sync.Mutex
	over   error                   // why there are no turns any more
	cancel context.CancelCauseFunc // ends the turn under way, or nil
}

// errStopped says that nobody is to be told any more.
var errStopped = errors.New("the vigil was stopped")

// Vigil makes a Vigil, for what calls for its turns; it begins with Begin. The context gives turns its values, and not its
// end: theirs ends with Stop, and with Close, whose ErrClosed is then its cause. The error of a turn ends the Vigil. After the last turn rest is
// called, once, to let go of what calls and of what turns have made; and after that end, with why the Vigil ended, unless it was stopped.
func (o *Open) Vigil(ctx context.Context, turn func(context.Context) error, rest func(), end func(error)) *Vigil {
	v := &Vigil{open: o, values: context.WithoutCancel(ctx), turn: turn, rest: rest, end: end}
	v.errand = errand.New(v.run)
	return v
}

// Begin calls for the first turn, unless there was a Close. It must be followed by Stop, which it returns.
func (v *Vigil) Begin() (stop func()) {
	v.open.keep(v)
	v.Call()
	return v.Stop
}

func (o *Open) keep(v *Vigil) {
	o.mu.Lock()
	defer o.mu.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.over != nil: // a turn that was called for before Begin has failed
	case o.closed:
		v.over = backend.ErrClosed
	default:
		if o.vigils == nil {
			o.vigils = make(map[*Vigil]struct{})
		}
		o.vigils[v] = struct{}{}
	}
}

func (o *Open) forget(v *Vigil) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.vigils, v)
}

// Call has a turn taken, or one more after that under way. It does not block.
func (v *Vigil) Call() { v.errand.Call() }

func (v *Vigil) run() {
	ctx, cancel := context.WithCancelCause(v.values)
	defer cancel(nil)
	v.mu.Lock()
	v.cancel = cancel
	err := v.over
	v.mu.Unlock()
	if err == nil {
		err = v.turn(ctx)
	}
	v.mu.Lock()
	v.cancel = nil
	if v.over == nil {
		v.over = err
	}
	err = v.over // and not what came of a turn that was ended
	v.mu.Unlock()
	if err == nil || errors.Is(err, errStopped) {
		return
	}
	v.errand.Retire()
	v.letGo()
	v.end(err)
}

func (v *Vigil) letGo() {
	v.resting.Do(func() {
		v.open.forget(v)
		v.rest()
	})
}

// halt ends the turn under way, and lets there be no other.
func (v *Vigil) halt(why error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over == nil || errors.Is(why, errStopped) {
		v.over = why
	}
	if v.cancel != nil {
		v.cancel(why)
	}
}

// Stop ends the Vigil, and the turn under way. It waits for that, and for what is being told, so that it must not be called by
// turn or end; it may be called again, and at any time.
func (v *Vigil) Stop() {
	v.halt(errStopped)
	v.errand.Stop()
	v.letGo()
}
