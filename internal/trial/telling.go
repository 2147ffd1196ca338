package trial

import (
	"context"

	"github.com/hustings-go/hustings/backend"
)

// Telling makes of any store one that tells by itself what others are asked for.
type Telling struct{ backend.Backend }

// Campaign hands out leases that tell, too.
func (b Telling) Campaign(ctx context.Context, key string, value []byte) (backend.Lease, error) {
	l, err := b.Backend.Campaign(ctx, key, value)
	if l == nil || err != nil {
		return l, err
	}
	return tellingLease{l}, nil
}

// TellLeaders tells what Observe yields.
func (b Telling) TellLeaders(ctx context.Context, key string, tell func(backend.Leader, error)) (stop func()) {
	return meanwhile(ctx, func(ctx context.Context) {
		for l, err := range b.Observe(ctx, key) {
			if ctx.Err() == nil {
				tell(l, err)
			}
		}
	})
}

type tellingLease struct{ backend.Lease }

func (l tellingLease) TellLoss(ctx context.Context, tell func(error)) (stop func()) {
	return meanwhile(ctx, func(ctx context.Context) {
		if err := l.Wait(ctx); ctx.Err() == nil {
			tell(err)
		}
	})
}

// meanwhile runs f until it is stopped.
func meanwhile(ctx context.Context, f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}
