package consul

import (
	"context"
	"sync"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
	"github.com/hustings-go/hustings/backend/internal/errand"
)

// turn is what one who leads or observes does when there is news of the key: first with nothing known, which is nil, and
// whenever that may have changed. It returns the entry if it has read it itself, or why it ends.
type turn func(ctx context.Context, now *api.KVPair) (read *api.KVPair, _ error)

// vigil lets one who leads or observes take turns. No goroutine waits for them.
type vigil struct {
	b        *Backend
	base     context.Context //nolint:containedctx // gives the turns their values
	listener *listener
	turn     turn
	end      func(error) // tells why it ended by itself
	errand   *errand.Errand
	closing  calls.Notice

	mu      sync.Mutex
	stopped bool                    // nobody is to be told any more
	closed  bool                    // the Backend is
	cancel  context.CancelCauseFunc // of the turn under way, or nil
}

// keepVigil has turns taken until stop, until a turn fails, or until Close.
func (b *Backend) keepVigil(ctx context.Context, key string, t turn, end func(error)) (stop func()) {
	v := &vigil{b: b, base: context.WithoutCancel(ctx), turn: t, end: end}
	v.errand = errand.New(v.run)
	v.closing.Closed = v.close
	if err := b.calls.Tell(&v.closing); err != nil {
		return errand.Once(func() { end(err) })
	}
	v.listener = b.listen(key, nil, v.errand.Call)
	v.errand.Call()
	return v.stop
}

// run takes a turn.
func (v *vigil) run() {
	ctx, cancel := context.WithCancelCause(v.base)
	defer cancel(nil)
	v.mu.Lock()
	if v.stopped {
		v.mu.Unlock()
		return
	}
	v.cancel = cancel
	closed := v.closed
	v.mu.Unlock()
	err := error(backend.ErrClosed)
	if !closed {
		err = v.take(ctx)
	}
	v.mu.Lock()
	v.cancel = nil
	stopped := v.stopped
	if v.closed && !stopped {
		err = backend.ErrClosed
	}
	v.mu.Unlock()
	switch {
	case stopped:
	case err == nil:
		v.b.want(v.listener)
	default:
		v.errand.Retire()
		v.end(err)
	}
}

func (v *vigil) take(ctx context.Context) error {
	now, known, _, err := v.b.take(v.listener)
	if err != nil {
		return err
	}
	var entry *api.KVPair
	if known {
		entry = &now.kv
	}
	read, err := v.turn(ctx, entry)
	if err == nil && read != nil {
		v.b.found(v.listener, view{kv: *read})
	}
	return err
}

// close has the vigil tell that the Backend was closed.
func (v *vigil) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	v.interrupt(backend.ErrClosed)
	v.errand.Call()
}

// interrupt ends the turn under way. v.mu is held.
func (v *vigil) interrupt(cause error) {
	if v.cancel != nil {
		v.cancel(cause)
	}
}

// stop ends the vigil, and sees the end of the turn under way.
func (v *vigil) stop() {
	v.mu.Lock()
	v.stopped = true
	v.interrupt(nil)
	v.mu.Unlock()
	v.b.calls.Forget(&v.closing)
	v.errand.Stop()
	v.b.leave(v.listener)
}
