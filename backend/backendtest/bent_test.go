package backendtest_test

import (
	"context"
	"iter"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/memory"
)

// distant is a sound backend whose calls take time on the way to the store and back.
type distant struct {
	*memory.Backend
}

const distance = 20 * time.Millisecond

// travel waits for a leg of the way, or until ctx ends.
func travel(ctx context.Context) {
	timer := time.NewTimer(distance)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (d *distant) Campaign(ctx context.Context, key string, value []byte) (backend.Lease, error) {
	travel(ctx)
	l, err := d.Backend.Campaign(ctx, key, value)
	travel(ctx)
	if err != nil {
		return nil, err
	}
	return distantLease{l}, nil
}

type distantLease struct {
	backend.Lease
}

func (l distantLease) Renew(ctx context.Context) (backend.Grant, error) {
	sent := backend.Now()
	travel(ctx)
	g, err := l.Lease.Renew(ctx)
	travel(ctx)
	g.Sent = sent
	return g, err
}

func (l distantLease) Resign(ctx context.Context) error {
	travel(ctx)
	err := l.Lease.Resign(ctx)
	travel(ctx)
	return err
}

// bent is a sound session with some of its methods replaced.
type bent struct {
	*memory.Backend
	campaign func(ctx context.Context, key string, value []byte) (backend.Lease, error)
	observe  func(ctx context.Context, key string) iter.Seq2[backend.Leader, error]
	close    func() error
}

func (b *bent) Campaign(ctx context.Context, key string, value []byte) (backend.Lease, error) {
	if b.campaign != nil {
		return b.campaign(ctx, key, value)
	}
	return b.Backend.Campaign(ctx, key, value)
}

func (b *bent) Observe(ctx context.Context, key string) iter.Seq2[backend.Leader, error] {
	if b.observe != nil {
		return b.observe(ctx, key)
	}
	return b.Backend.Observe(ctx, key)
}

func (b *bent) Close() error {
	if b.close != nil {
		return b.close()
	}
	return b.Backend.Close()
}

// bentLease is a sound lease with some of its methods replaced.
type bentLease struct {
	backend.Lease
	token    func() uint64
	grant    func() backend.Grant
	renew    func(ctx context.Context) (backend.Grant, error)
	wait     func(ctx context.Context) error
	proclaim func(ctx context.Context, value []byte) error
	resign   func(ctx context.Context) error
}

func (l *bentLease) Token() uint64 {
	if l.token != nil {
		return l.token()
	}
	return l.Lease.Token()
}

func (l *bentLease) Grant() backend.Grant {
	if l.grant != nil {
		return l.grant()
	}
	return l.Lease.Grant()
}

func (l *bentLease) Renew(ctx context.Context) (backend.Grant, error) {
	if l.renew != nil {
		return l.renew(ctx)
	}
	return l.Lease.Renew(ctx)
}

func (l *bentLease) Wait(ctx context.Context) error {
	if l.wait != nil {
		return l.wait(ctx)
	}
	return l.Lease.Wait(ctx)
}

func (l *bentLease) Proclaim(ctx context.Context, value []byte) error {
	if l.proclaim != nil {
		return l.proclaim(ctx, value)
	}
	return l.Lease.Proclaim(ctx, value)
}

func (l *bentLease) Resign(ctx context.Context) error {
	if l.resign != nil {
		return l.resign(ctx)
	}
	return l.Lease.Resign(ctx)
}

// bendLease makes sessions whose leases are changed by bend.
func bendLease(bend func(b *memory.Backend, key string, l *bentLease)) func(b *memory.Backend) backend.Backend {
	return func(b *memory.Backend) backend.Backend {
		return &bent{Backend: b, campaign: func(ctx context.Context, key string, value []byte) (backend.Lease, error) {
			l, err := b.Campaign(ctx, key, value)
			if err != nil {
				return nil, err
			}
			changed := &bentLease{Lease: l}
			bend(b, key, changed)
			return changed, nil
		}}
	}
}

// bendCampaign makes sessions with another Campaign.
func bendCampaign(campaign func(b *memory.Backend, ctx context.Context, key string, value []byte) (backend.Lease, error)) func(b *memory.Backend) backend.Backend {
	return func(b *memory.Backend) backend.Backend {
		return &bent{Backend: b, campaign: func(ctx context.Context, key string, value []byte) (backend.Lease, error) {
			return campaign(b, ctx, key, value)
		}}
	}
}

// bendObserve makes sessions that see what change makes of each observation; it may drop it.
func bendObserve(change func(l backend.Leader) (seen backend.Leader, drop bool)) func(b *memory.Backend) backend.Backend {
	return func(b *memory.Backend) backend.Backend {
		return &bent{Backend: b, observe: func(ctx context.Context, key string) iter.Seq2[backend.Leader, error] {
			return func(yield func(backend.Leader, error) bool) {
				for l, err := range b.Observe(ctx, key) {
					seen, drop := change(l)
					if !drop && !yield(seen, err) {
						return
					}
				}
			}
		}}
	}
}
