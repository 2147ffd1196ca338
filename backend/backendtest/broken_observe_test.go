package backendtest_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/memory"
	"github.com/hustings-go/hustings/retry"
)

// brokenViews are backends with one fault each in Observe or in what becomes of a value.
func brokenViews() []subject {
	var (
		mu   sync.Mutex
		kept = make(map[string][]byte)
	)
	return []subject{
		{
			name:   "Observe says nothing on vacancy",
			caught: []string{"a candidate wins a vacant key and resigns it", "Observe starts with what is true"},
			wrap:   bendObserve(func(l backend.Leader) (backend.Leader, bool) { return l, l.Vacant() }),
		},
		{
			name:   "Observe says nothing of another value",
			caught: []string{"Observe follows vacancy, leader, value and successor", "any bytes can be announced"},
			wrap: func(b *memory.Backend) backend.Backend {
				var last uint64
				return bendObserve(func(l backend.Leader) (backend.Leader, bool) {
					mu.Lock()
					defer mu.Unlock()
					same := l.Token != 0 && l.Token == last
					last = l.Token
					return l, same
				})(b)
			},
		},
		{
			name:   "Observe can be ranged over once",
			caught: []string{"Observe does nothing before it is ranged over"},
			wrap: func(b *memory.Backend) backend.Backend {
				return &bent{Backend: b, observe: func(ctx context.Context, key string) iter.Seq2[backend.Leader, error] {
					used := false
					return func(yield func(backend.Leader, error) bool) {
						if used {
							yield(backend.Leader{}, errors.New("the iterator is used up"))
							return
						}
						used = true
						b.Observe(ctx, key)(yield)
					}
				}}
			},
		},
		{
			name:   "Observe goes back",
			caught: []string{"tokens grow from term to term"},
			wrap: func(b *memory.Backend) backend.Backend {
				return &bent{Backend: b, observe: func(ctx context.Context, key string) iter.Seq2[backend.Leader, error] {
					return func(yield func(backend.Leader, error) bool) {
						var before backend.Leader
						for l, err := range b.Observe(ctx, key) {
							if !yield(l, err) || !before.Vacant() && !l.Vacant() && !yield(before, nil) {
								return
							}
							if !l.Vacant() {
								before = backend.Leader{Token: l.Token - 1, Value: l.Value}
							}
						}
					}
				}}
			},
		},
		{
			name:   "Observe ends with the context's error",
			caught: []string{"Observe follows vacancy, leader, value and successor", "leaving the loop of Observe costs nobody anything"},
			wrap: func(b *memory.Backend) backend.Backend {
				return &bent{Backend: b, observe: func(ctx context.Context, key string) iter.Seq2[backend.Leader, error] {
					return func(yield func(backend.Leader, error) bool) {
						for l, err := range b.Observe(ctx, key) {
							if !yield(l, err) {
								return
							}
						}
						if ctx.Err() != nil {
							yield(backend.Leader{}, ctx.Err())
						}
					}
				}}
			},
		},
		{
			name:   "Observe hands out what it keeps",
			caught: []string{"an observed value belongs to the caller"},
			wrap: bendObserve(func(l backend.Leader) (backend.Leader, bool) {
				mu.Lock()
				defer mu.Unlock()
				if kept[string(l.Value)] == nil {
					kept[string(l.Value)] = l.Value
				}
				l.Value = kept[string(l.Value)]
				return l, false
			}),
		},
		{
			name:   "values end at a NUL",
			caught: []string{"any bytes can be announced"},
			wrap: bendObserve(func(l backend.Leader) (backend.Leader, bool) {
				value, _, _ := strings.Cut(string(l.Value), "\x00")
				l.Value = []byte(value)
				return l, false
			}),
		},
		{
			name:   "Campaign keeps the caller's slice",
			caught: []string{"a value may be overwritten after the call"},
			wrap: bendCampaign(func(b *memory.Backend, ctx context.Context, key string, value []byte) (backend.Lease, error) {
				l, err := b.Campaign(ctx, key, value)
				if err != nil {
					return nil, err
				}
				return &bentLease{Lease: l, renew: func(ctx context.Context) (backend.Grant, error) {
					if err := l.Proclaim(ctx, value); err != nil {
						return backend.Grant{}, err
					}
					return l.Renew(ctx)
				}}, nil
			}),
		},
		{
			name:   "a value that is too long is passing trouble",
			caught: []string{"the longest value is taken and one byte more is refused"},
			wrap: bendCampaign(func(b *memory.Backend, ctx context.Context, key string, value []byte) (backend.Lease, error) {
				l, err := b.Campaign(ctx, key, value)
				if retry.IsPermanent(err) && len(value) > 0 {
					return nil, errors.New("connection reset by peer")
				}
				return l, err
			}),
		},
	}
}
