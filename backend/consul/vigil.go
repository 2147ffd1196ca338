package consul

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend/internal/calls"
	"github.com/hustings-go/hustings/backend/internal/errand"
)

// turn is what one who leads or observes does when there is news of the key: first with nothing known, which is nil, and
// whenever that may have changed. It returns the entry if it has read it itself, or why it ends.
type turn func(ctx context.Context, now *api.KVPair) (read *api.KVPair, _ error)

// vigil lets one who leads or observes take turns. No goroutine waits for them.
type vigil struct {
	b        *Backend
	ctx      context.Context //nolint:containedctx // made by Enter: it ends with Close, or when the vigil is stopped
	listener *listener
	turn     turn
	end      func(error) // tells why it ended by itself
	errand   *errand.Errand
	stopped  atomic.Bool // nobody is to be told any more
}

// keepVigil has turns taken until stop, until a turn fails, or until Close. The end of s, if it is not nil, is a reason to
// take one too.
func (b *Backend) keepVigil(ctx context.Context, key string, s *session, t turn, end func(error)) (stop func()) {
	v := &vigil{b: b, turn: t, end: end}
	v.errand = errand.New(v.run)
	var leave func()
	var err error
	if v.ctx, leave, err = b.calls.Enter(context.WithoutCancel(ctx), false); err != nil {
		v.errand = errand.New(func() { end(err) })
		v.errand.Call()
		return v.errand.Stop
	}
	v.listener = b.listen(key, nil, v.errand.Call)
	unbind := []func() bool{context.AfterFunc(v.ctx, v.errand.Call)}
	if s != nil {
		unbind = append(unbind, context.AfterFunc(s.alive, v.errand.Call))
	}
	v.errand.Call()
	return sync.OnceFunc(func() {
		v.stopped.Store(true)
		for _, f := range unbind {
			f()
		}
		leave() // which ends the turn under way
		v.errand.Stop()
		b.leave(v.listener)
	})
}

// run takes a turn.
func (v *vigil) run() {
	err := v.take()
	if v.ctx.Err() != nil {
		err = calls.Ended(v.ctx)
	}
	if err == nil {
		v.b.want(v.listener)
		return
	}
	if v.stopped.Load() {
		return
	}
	v.errand.Retire()
	v.end(err)
}

func (v *vigil) take() error {
	if v.ctx.Err() != nil {
		return v.ctx.Err()
	}
	now, known, _, err := v.b.take(v.listener)
	if err != nil {
		return err
	}
	var entry *api.KVPair
	if known {
		entry = &now.kv
	}
	read, err := v.turn(v.ctx, entry)
	if err == nil && read != nil {
		v.b.found(v.listener, view{kv: *read})
	}
	return err
}
