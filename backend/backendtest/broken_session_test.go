package backendtest_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/backendtest"
	"github.com/hustings-go/hustings/backend/memory"
)

// brokenSessions are backends with one fault each in Campaign, in Close or in what a session is.
func brokenSessions() []subject {
	var mu sync.Mutex
	return []subject{
		{
			name:   "each session is a store of its own",
			caught: []string{"many sessions hold a key one at a time and all get their turn", "Observe follows vacancy, leader, value and successor"},
			wrap:   alone,
		},
		{
			name:   "Campaign does not refuse a second candidacy",
			caught: []string{"a second candidacy of one session for one key is busy"},
			wrap: bendCampaign(func(b *memory.Backend, ctx context.Context, key string, value []byte) (backend.Lease, error) {
				l, err := b.Campaign(ctx, key, value)
				if errors.Is(err, backend.ErrBusy) {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return l, err
			}),
		},
		{
			name:   "Campaign leaves its entry behind",
			caught: []string{"a Campaign cancelled while it waits leaves nothing behind"},
			wrap: bendCampaign(func(b *memory.Backend, ctx context.Context, key string, value []byte) (backend.Lease, error) {
				stop := context.AfterFunc(ctx, func() { b.Fail(1, nil) })
				defer stop()
				inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
				defer cancel()
				defer context.AfterFunc(ctx, func() {
					b.Fail(1, nil) // of the withdrawal
					cancel()
				})()
				l, err := b.Campaign(inner, key, value)
				if err != nil && ctx.Err() != nil {
					return nil, ctx.Err()
				}
				return l, err
			}),
		},
		{
			name:   "Campaign polls",
			caught: []string{"an idle store makes no calls"},
			wrap: bendCampaign(func(b *memory.Backend, ctx context.Context, key string, value []byte) (backend.Lease, error) {
				done := make(chan struct{})
				defer close(done)
				go func() {
					ticker := time.NewTicker(time.Second)
					defer ticker.Stop()
					for {
						select {
						case <-ticker.C:
							for range b.Observe(ctx, key) {
								break
							}
						case <-done:
							return
						}
					}
				}()
				return b.Campaign(ctx, key, value)
			}),
		},
		{
			name:   "Campaign has no queue",
			caught: []string{"candidates win in the order in which they came", "an idle store makes no calls"},
			wrap: bendCampaign(func(b *memory.Backend, ctx context.Context, key string, value []byte) (backend.Lease, error) {
				for {
					try, cancel := context.WithTimeout(ctx, distance)
					l, err := b.Campaign(try, key, value)
					cancel()
					if err == nil || !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
						return l, err
					}
					travel(ctx)
				}
			}),
		},
		{
			name:   "a session has room for fifty",
			caught: []string{"a session holds a hundred keys"},
			wrap: func(b *memory.Backend) backend.Backend {
				var campaigns atomic.Int32
				return bendCampaign(func(b *memory.Backend, ctx context.Context, key string, value []byte) (backend.Lease, error) {
					if campaigns.Add(1) > 50 {
						return nil, errors.New("too many connections")
					}
					return b.Campaign(ctx, key, value)
				})(b)
			},
		},
		{
			name:   "long keys are refused",
			caught: []string{"the longest key is taken"},
			wrap: bendCampaign(func(b *memory.Backend, ctx context.Context, key string, value []byte) (backend.Lease, error) {
				if len(key) > backend.MaxKeyLen-1 {
					return nil, errors.New("name too long")
				}
				return b.Campaign(ctx, key, value)
			}),
		},
		{
			name:   "bad keys are mended",
			caught: []string{"bad keys are refused"},
			wrap: bendCampaign(func(b *memory.Backend, ctx context.Context, key string, value []byte) (backend.Lease, error) {
				return b.Campaign(ctx, strings.ReplaceAll(key, "//", "/"), value)
			}),
		},
		{
			name:   "nested keys match by prefix",
			caught: []string{"nested keys never meet"},
			wrap: func(b *memory.Backend) backend.Backend {
				outer := func(key string) string { return strings.TrimSuffix(key, "/b") }
				return &bent{
					Backend: b,
					campaign: func(ctx context.Context, key string, value []byte) (backend.Lease, error) {
						return b.Campaign(ctx, outer(key), value)
					},
					observe: func(ctx context.Context, key string) iter.Seq2[backend.Leader, error] {
						return b.Observe(ctx, outer(key))
					},
				}
			},
		},
		{
			name:   "Close gives held leases up",
			caught: []string{"Close leaves a held lease to be resigned"},
			wrap: func(b *memory.Backend) backend.Backend {
				var held []backend.Lease
				s := &bent{Backend: b}
				s.campaign = func(ctx context.Context, key string, value []byte) (backend.Lease, error) {
					l, err := b.Campaign(ctx, key, value)
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						held = append(held, l)
					}
					return l, err
				}
				s.close = func() error {
					ctx, cancel := context.WithTimeout(context.Background(), time.Second)
					defer cancel()
					mu.Lock()
					leases := held
					mu.Unlock()
					for _, l := range leases {
						_ = l.Resign(ctx)
					}
					return b.Close()
				}
				return s
			},
		},
		{
			name:   "Close lets a waiting Campaign wait",
			caught: []string{"Close ends a waiting Campaign and leaves nothing behind"},
			wrap: bendCampaign(func(b *memory.Backend, ctx context.Context, key string, value []byte) (backend.Lease, error) {
				l, err := b.Campaign(ctx, key, value)
				if errors.Is(err, backend.ErrClosed) {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return l, err
			}),
		},
		{
			name:   "Close works once",
			caught: []string{"a closed session takes no calls"},
			wrap: func(b *memory.Backend) backend.Backend {
				closed := false
				return &bent{Backend: b, close: func() error {
					if closed {
						return backend.ErrClosed
					}
					closed = true
					return b.Close()
				}}
			},
		},
		{
			name:   "Close closes the store",
			caught: []string{"Close of one session disturbs no other", "a closed session takes no calls"},
			change: func(h *backendtest.Harness, store func() *memory.Backend) {
				h.Open = closesAll(store)
			},
		},
	}
}
