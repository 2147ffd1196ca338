// Package calls has what all backends do with their callers' contexts: Close ends the calls that block, and the
// vigils that spare them; and a write on its way outlives its caller for a moment.
package calls

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// Open are the blocking calls of one Backend that are under way, and its vigils. The zero value has none. It is safe for
// concurrent use, and its lock is held across no call.
type Open struct {
	mu     sync.Mutex
	closed bool
	all    map[*call]struct{}
	vigils map[*Vigil]struct{}
}

type call struct {
	cancel  context.CancelCauseFunc
	done    chan struct{}
	awaited bool
}

// Enter begins a call that Close ends with ErrClosed, which is then the cause of the context that it returns; after
// Close it is ErrClosed at once. Close waits for the call to return if it is awaited: a campaign
// withdraws first, and who consumes an Observe may take their time. The caller must call leave when it returns.
func (o *Open) Enter(ctx context.Context, awaited bool) (_ context.Context, leave func(), _ error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, nil, backend.ErrClosed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	c := &call{cancel: cancel, done: make(chan struct{}), awaited: awaited}
	if o.all == nil {
		o.all = make(map[*call]struct{})
	}
	o.all[c] = struct{}{}
	return ctx, func() {
		cancel(nil)
		o.mu.Lock()
		delete(o.all, c)
		o.mu.Unlock()
		close(c.done)
	}, nil
}

// Close takes no calls any more, ends the calls and vigils there are, and waits until the awaited calls have returned, or for
// enough. It reports whether they have; of several Closes only the first does.
func (o *Open) Close(enough <-chan time.Time) bool {
	o.mu.Lock()
	again := o.closed
	o.closed = true
	var awaited []<-chan struct{}
	for c := range o.all {
		c.cancel(backend.ErrClosed)
		if c.awaited {
			awaited = append(awaited, c.done)
		}
	}
	for v := range o.vigils {
		v.halt(backend.ErrClosed)
		v.Call()
	}
	o.mu.Unlock()
	return !again && AllDone(awaited, enough)
}

// Closed reports whether there was a Close.
func (o *Open) Closed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed
}

// AllDone waits until all of done are closed, and reports whether they were before enough.
func AllDone(done []<-chan struct{}, enough <-chan time.Time) bool {
	for _, d := range done {
		select {
		case <-d:
		case <-enough:
			return false
		}
	}
	return true
}

// Ended is the error of a call whose context, made by Enter, has ended: ErrClosed when Close ended it.
func Ended(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), backend.ErrClosed) {
		return backend.ErrClosed
	}
	return ctx.Err()
}

// Linger returns a context that ends d after ctx, with its cause, so that a request on its way can still
// be answered.
func Linger(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	lasting, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(d, func() { cancel(context.Cause(ctx)) })
		context.AfterFunc(lasting, func() { timer.Stop() })
	})
	return lasting, func() {
		stop()
		cancel(nil)
	}
}
