package consul

import "context"

// flight is one request in the air that several callers wait for. It ends when it is answered, or when its
// last caller has gone: one caller's cancelled context costs the others nothing, and
// no goroutine is left behind by callers that have gone.
type flight struct {
	cancel  context.CancelFunc
	done    chan struct{} // closed when err is set
	err     error
	callers int // guarded by Backend.mu
}

// board joins the flight in slot, or starts one there that runs do, which must bound itself. b.mu must be
// held. Each board is followed by one leave.
func (b *Backend) board(ctx context.Context, slot **flight, do func(context.Context) error) *flight {
	if f := *slot; f != nil {
		f.callers++
		return f
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &flight{cancel: cancel, done: make(chan struct{}), callers: 1}
	*slot = f
	go func() {
		defer close(f.done)
		defer cancel()
		f.err = do(ctx)
		b.mu.Lock()
		defer b.mu.Unlock()
		if *slot == f {
			*slot = nil
		}
	}()
	return f
}

// leave takes one caller off the flight in slot. The last one cancels it and sees it end.
func (b *Backend) leave(slot **flight, f *flight) {
	b.mu.Lock()
	f.callers--
	last := f.callers == 0
	if last && *slot == f {
		*slot = nil
	}
	b.mu.Unlock()
	if last {
		f.cancel()
		<-f.done
	}
}

// await waits for f and leaves it.
func (b *Backend) await(ctx context.Context, slot **flight, f *flight) error {
	defer b.leave(slot, f)
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ended(ctx)
	}
}
