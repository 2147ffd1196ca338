package backendtest_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/backendtest"
	"github.com/hustings-go/hustings/backend/memory"
)

// brokenLeases are backends with one fault each in what a lease does.
func brokenLeases() []subject {
	return []subject{
		{
			name:   "Renew always says yes",
			caught: []string{"Renew proves the record and not only the session", "late calls of a deposed term touch no successor", "a lease that nobody renews ends with its TTL"},
			wrap: bendLease(func(_ *memory.Backend, _ string, l *bentLease) {
				l.renew = func(ctx context.Context) (backend.Grant, error) {
					if g, err := l.Lease.Renew(ctx); !errors.Is(err, backend.ErrLost) {
						return g, err
					}
					return backend.Grant{Sent: backend.Now(), TTL: time.Second}, nil
				}
			}),
		},
		{
			name:   "Resign by name",
			caught: []string{"late calls of a resigned term touch no successor", "late calls of a deposed term touch no successor", "late calls of an expired term touch no successor"},
			wrap: bendLease(func(b *memory.Backend, key string, l *bentLease) {
				l.resign = func(ctx context.Context) error {
					b.Depose(key)
					return l.Lease.Resign(ctx)
				}
			}),
		},
		{
			name:   "Proclaim by name",
			caught: []string{"late calls of a resigned term touch no successor", "late calls of an expired term touch no successor"},
			wrap: func() func(b *memory.Backend) backend.Backend {
				var mu sync.Mutex
				newest := make(map[string]backend.Lease)
				return bendLease(func(_ *memory.Backend, key string, l *bentLease) {
					mu.Lock()
					defer mu.Unlock()
					newest[key] = l.Lease
					l.proclaim = func(ctx context.Context, value []byte) error {
						mu.Lock()
						current := newest[key]
						mu.Unlock()
						return current.Proclaim(ctx, value)
					}
				})
			}(),
		},
		{
			name:   "tokens that repeat",
			caught: []string{"tokens grow from term to term", "tokens grow after a deposition", "tokens grow after an expiry", "many sessions hold a key one at a time and all get their turn"},
			wrap: bendLease(func(_ *memory.Backend, _ string, l *bentLease) {
				l.token = func() uint64 { return 1 }
			}),
		},
		{
			name:   "another token than observers see",
			caught: []string{"tokens grow from term to term", "Observe follows vacancy, leader, value and successor"},
			wrap: bendLease(func(_ *memory.Backend, _ string, l *bentLease) {
				l.token = func() uint64 { return l.Lease.Token() + 1 }
			}),
		},
		{
			name:   "Proclaim begins another term",
			caught: []string{"tokens grow from term to term"},
			wrap: bendLease(func(b *memory.Backend, key string, l *bentLease) {
				l.proclaim = func(ctx context.Context, value []byte) error {
					if err := l.Lease.Resign(ctx); err != nil {
						return err
					}
					next, err := b.Campaign(ctx, key, value)
					if err == nil {
						l.Lease = next
					}
					return err
				}
			}),
		},
		{
			name:   "Resign works once",
			caught: []string{"Resign may be repeated"},
			wrap: bendLease(func(_ *memory.Backend, _ string, l *bentLease) {
				resigned := false
				l.resign = func(ctx context.Context) error {
					if resigned {
						return backend.ErrLost
					}
					resigned = true
					return l.Lease.Resign(ctx)
				}
			}),
		},
		{
			name:   "Resign leaves it to the TTL",
			caught: []string{"Resign hands over to a waiting candidate at once", "a candidate wins a vacant key and resigns it"},
			wrap: bendLease(func(_ *memory.Backend, _ string, l *bentLease) {
				l.resign = func(context.Context) error { return nil }
			}),
		},
		{
			name:   "Wait never tells",
			caught: []string{"Wait tells of a removed record"},
			wrap: bendLease(func(_ *memory.Backend, _ string, l *bentLease) {
				l.wait = func(ctx context.Context) error {
					err := l.Lease.Wait(ctx)
					if errors.Is(err, backend.ErrLost) {
						<-ctx.Done()
						return ctx.Err()
					}
					return err
				}
			}),
		},
		{
			name:   "Wait does not wait",
			caught: []string{"Wait waits while the term lasts"},
			wrap: bendLease(func(_ *memory.Backend, _ string, l *bentLease) {
				l.wait = func(context.Context) error { return backend.ErrLost }
			}),
		},
		{
			name:   "a cancelled call says that the key is lost",
			caught: []string{"a context that has ended has no effect on anything", "cancelling one call of a session disturbs no other"},
			wrap: bendLease(func(_ *memory.Backend, _ string, l *bentLease) {
				l.renew = func(ctx context.Context) (backend.Grant, error) {
					travel(ctx) // else an idle machine answers before anybody can cancel
					if ctx.Err() != nil {
						return backend.Grant{}, backend.ErrLost
					}
					return l.Lease.Renew(ctx)
				}
			}),
		},
		{
			name:   "one cancelled Renew cancels all of the session",
			caught: []string{"cancelling one call of a session disturbs no other"},
			wrap:   sharedRenewals,
		},
		{
			name:   "a lease ends with the context of its Campaign",
			caught: []string{"a lease outlives the context of its Campaign"},
			wrap: bendCampaign(func(b *memory.Backend, ctx context.Context, key string, value []byte) (backend.Lease, error) {
				l, err := b.Campaign(ctx, key, value)
				if err == nil {
					context.AfterFunc(ctx, func() { _ = l.Resign(context.WithoutCancel(ctx)) })
				}
				return l, err
			}),
		},
		{
			name:   "leases that renew themselves",
			caught: []string{"a lease that nobody renews ends with its TTL", "tokens grow after an expiry"},
			wrap: bendLease(func(b *memory.Backend, _ string, l *bentLease) {
				stop := make(chan struct{})
				stopOnce := sync.OnceFunc(func() { close(stop) })
				l.resign = func(ctx context.Context) error {
					stopOnce()
					return l.Lease.Resign(ctx)
				}
				go func() {
					ticker := time.NewTicker(b.TTL() / 3)
					defer ticker.Stop()
					for {
						select {
						case <-ticker.C:
							if _, err := l.Lease.Renew(context.Background()); err != nil {
								return
							}
						case <-stop:
							return
						}
					}
				}()
			}),
		},
		{
			name:   "a grant that counts from the answer",
			caught: []string{"after a crash the next candidate wins and not too soon", "a lease that nobody renews ends with its TTL"},
			wrap: bendLease(func(_ *memory.Backend, _ string, l *bentLease) {
				l.renew = func(ctx context.Context) (backend.Grant, error) {
					g, err := l.Lease.Renew(ctx)
					travel(ctx) // the answer takes its time
					g.Sent = backend.Now()
					return g, err
				}
			}),
		},
		{
			name:   "a grant that does not tell when",
			caught: []string{"a grant counts from before the request"},
			wrap: bendLease(func(b *memory.Backend, _ string, l *bentLease) {
				l.grant = func() backend.Grant { return backend.Grant{TTL: b.TTL()} }
			}),
		},
		{
			name:   "a grant that counts from the beginning of the wait",
			caught: []string{"a lease that is renewed outlives its TTL and so does who waits"},
			wrap: bendCampaign(func(b *memory.Backend, ctx context.Context, key string, value []byte) (backend.Lease, error) {
				sent := backend.Now()
				l, err := b.Campaign(ctx, key, value)
				if err != nil {
					return nil, err
				}
				return &bentLease{Lease: l, grant: func() backend.Grant { return backend.Grant{Sent: sent, TTL: b.TTL()} }}, nil
			}),
		},
		{
			name:   "a grant of more than the store gives",
			caught: []string{"after a crash the next candidate wins and not too soon", "a lease that nobody renews ends with its TTL"},
			change: func(h *backendtest.Harness, store func() *memory.Backend) {
				h.Open = halved(store)
			},
		},
	}
}

// sharedRenewals makes a session whose renewals go out together, under the context of whoever was first.
func sharedRenewals(b *memory.Backend) backend.Backend {
	var mu sync.Mutex
	var batch context.Context
	return bendLease(func(_ *memory.Backend, _ string, l *bentLease) {
		l.renew = func(ctx context.Context) (backend.Grant, error) {
			mu.Lock()
			if batch == nil {
				batch = ctx
			}
			shared := batch
			mu.Unlock()
			travel(shared)
			mu.Lock()
			batch = nil
			mu.Unlock()
			return l.Lease.Renew(shared)
		}
	})(b)
}
