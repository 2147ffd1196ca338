package consul

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"
)

// pace is the time from one look at all keys that have no query to the next.
const pace = time.Second

// passing is the looks at keys that have no query, one pass over them after the other.
type passing struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// pass begins the passes, unless they are under way. b.mu is held.
func (b *Backend) pass() {
	if b.passing != nil {
		return
	}
	//nolint:forbidigo // it is for many, and ends with the last of them
	ctx, cancel := context.WithCancel(context.Background())
	p := &passing{cancel: cancel, done: make(chan struct{})}
	b.passing = p
	go func() {
		defer close(p.done)
		defer cancel()
		b.passes(ctx)
	}()
}

// passes looks at all keys that have no query, again and again, while there are any.
func (b *Backend) passes(ctx context.Context) {
	rest := time.NewTimer(pace)
	defer rest.Stop()
	for {
		b.mu.Lock()
		b.assign()
		var old, fresh []*sight
		for _, s := range b.sights {
			switch {
			case s.query || b.holds(s.key):
			case s.known && exists(&s.last.kv):
				old = append(old, s)
			default:
				fresh = append(fresh, s)
			}
		}
		if len(old)+len(fresh) == 0 || ctx.Err() != nil {
			b.passing = nil
			if len(old)+len(fresh) > 0 { // who came when the last one had left
				b.pass()
			}
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		rest.Reset(pace)
		for some := range slices.Chunk(old, maxOps) {
			fresh = append(fresh, b.compare(ctx, some)...)
		}
		for some := range slices.Chunk(fresh, maxValues) {
			b.lookAt(ctx, some)
		}
		select {
		case <-rest.C:
		case <-ctx.Done():
		}
	}
}

// compare returns which keys are not as they were seen last. It asks for no values, which may be large.
func (b *Backend) compare(ctx context.Context, some []*sight) (changed []*sight) {
	txn := make([]*api.KVTxnOp, len(some))
	b.mu.Lock()
	for i, s := range some {
		txn[i] = &api.KVTxnOp{Verb: api.KVCheckIndex, Key: s.key, Index: s.last.kv.ModifyIndex}
	}
	b.mu.Unlock()
	_, err := b.commit(ctx, ops(txn...))
	refusal, refused := errors.AsType[*conflict](err)
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, s := range some {
		mine := err
		if refused {
			mine = refusal.among(i, i+1)
		}
		switch {
		case s.query: // which sees more than this
		case mine == nil && (err == nil || failedCheck(err)):
			s.seen = time.Now()
		case mine == nil: // not looked at, because another may not be
		case failedCheck(mine):
			changed = append(changed, s)
		default:
			b.unseen(ctx, s, mine)
		}
	}
	return changed
}

// lookAt reads keys. Consul leaves out, without a word, what the ACL token may not read.
func (b *Backend) lookAt(ctx context.Context, some []*sight) {
	txn := make([]*api.KVTxnOp, len(some))
	for i, s := range some {
		txn[i] = kv(api.KVGetOrEmpty, s.key)
	}
	results, err := b.commit(ctx, ops(txn...))
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range some {
		now := find(results, s.key)
		switch {
		case s.query: // which sees more than this
		case err != nil:
			b.unseen(ctx, s, err)
		case now == nil:
			b.unseen(ctx, s, errUnreadable)
		default:
			b.saw(s, view{kv: *now})
		}
	}
}

// unseen bears it that a key could not be looked at, as it will be again soon, but not for long. b.mu is held.
func (b *Backend) unseen(ctx context.Context, s *sight, err error) {
	if ctx.Err() != nil || b.sights[s.key] != s {
		return
	}
	if !final(classify(err)) && time.Since(s.seen) < b.ttl/3 {
		return
	}
	b.fail(s, err)
}
