package consul

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"
)

// maxTurns is how many single requests are under way at most, as each has a connection. Renewals and proofs, on which terms
// depend, are few, and count for themselves.
const maxTurns = 8

// request runs one request to Consul under a bound of its own, so that an agent that does not answer turns
// into an error and not into a hang. So does a turn that does not come.
func (b *Backend) request(ctx context.Context, do func(context.Context) error) error {
	patience := time.NewTimer(b.bound)
	defer patience.Stop()
	select {
	case b.turns <- struct{}{}:
	case <-patience.C:
		return fmt.Errorf("%w within %v", errNoTurn, b.bound)
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-b.turns }()
	return within(ctx, b.bound, do)
}

func within(ctx context.Context, bound time.Duration, do func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	err := do(bounded)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		return fmt.Errorf("%w within %v: %w", errNoAnswer, bound, err)
	}
	return err
}

// repeat runs a request that may be made twice, and does so if it fails as if it had been cancelled: one that gets the
// connection of another that was cancelled just then does so in net/http, and queries here are cancelled often.
func repeat(ctx context.Context, do func(context.Context) error) error {
	err := do(ctx)
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		err = do(ctx)
	}
	return err
}

func writing(ctx context.Context) *api.WriteOptions { return (&api.WriteOptions{}).WithContext(ctx) }

func consistent(ctx context.Context) *api.QueryOptions {
	return (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx)
}

// commit runs a transaction, and returns what it read and wrote; a *conflict if Consul refused it. One that
// only reads is answered by a leader that has just made sure that it leads.
func (b *Backend) commit(ctx context.Context, txn api.TxnOps) (results api.TxnResults, _ error) {
	err := b.request(ctx, func(ctx context.Context) (err error) {
		results, err = b.transact(ctx, txn)
		return err
	})
	return results, err
}

// check is commit for what terms depend on, and waits for no turn.
func (b *Backend) check(ctx context.Context, txn api.TxnOps) error {
	return within(ctx, b.bound, func(ctx context.Context) error {
		_, err := b.transact(ctx, txn)
		return err
	})
}

func (b *Backend) transact(ctx context.Context, txn api.TxnOps) (results api.TxnResults, _ error) {
	once := func(ctx context.Context) error {
		ok, resp, _, err := b.client.Txn().Txn(txn, consistent(ctx))
		switch {
		case err != nil:
			return err
		case !ok:
			return &conflict{resp.Errors}
		}
		results = resp.Results
		return nil
	}
	do := once
	if reads(txn) {
		do = func(ctx context.Context) error { return repeat(ctx, once) }
	}
	err := do(ctx)
	return results, err
}

// reading is the question what stands for a key.
type reading struct {
	key    string
	record record
}

// read reads what stands for key: both entries at one moment, and what every earlier write left. It asks together with
// others who ask at the same time, after it was called.
func (b *Backend) read(ctx context.Context, key string) (*record, error) {
	q := &reading{key: key}
	if err := b.readings.Ask(ctx, q); err != nil {
		return nil, err
	}
	return &q.record, nil
}

// readAll reads for many, in as few transactions as bring not too much, one after the other.
func (b *Backend) readAll(ctx context.Context, all []*reading) []error {
	const each = 2 // operations
	answers := make([]error, 0, len(all))
	for some := range slices.Chunk(all, maxValues/each) {
		var txn []*api.KVTxnOp
		for _, q := range some {
			txn = append(txn, kv(api.KVGetOrEmpty, q.key), kv(api.KVGetOrEmpty, sibling(q.key)))
		}
		results, err := b.commit(ctx, ops(txn...))
		if err != nil {
			// Nobody answers, or all alike: the rest need not find out one after the other.
			return append(answers, slices.Repeat([]error{err}, len(all)-len(answers))...)
		}
		for _, q := range some {
			// Consul leaves out what the ACL token may not read, without a word.
			lead, term := find(results, q.key), find(results, sibling(q.key))
			if lead == nil || term == nil {
				answers = append(answers, errUnreadable)
				continue
			}
			q.record = record{lead: *lead, term: *term}
			answers = append(answers, nil)
		}
	}
	return answers
}

// find returns the entry of key as a transaction left it, if it tells.
func find(results api.TxnResults, key string) *api.KVPair {
	for _, r := range slices.Backward(results) {
		if r.KV != nil && r.KV.Key == key {
			return r.KV
		}
	}
	return nil
}

// view is the key's own entry, as a blocking query last saw it. It may be a little old, and is a hint.
type view struct {
	kv    api.KVPair // zero if there is none
	index uint64     // to wait from
}

// watch returns the key's entry as soon as it is another than at index, or when wait is over. With index
// 0 it returns at once.
func (b *Backend) watch(ctx context.Context, key string, index uint64, wait time.Duration) (view, error) {
	var pair *api.KVPair
	var meta *api.QueryMeta
	once := func(ctx context.Context) (err error) {
		opts := (&api.QueryOptions{WaitIndex: index, WaitTime: wait}).WithContext(ctx)
		pair, meta, err = b.client.KV().Get(key, opts)
		return err
	}
	get := func(ctx context.Context) error { return repeat(ctx, once) }
	var err error
	if wait == 0 {
		err = b.request(ctx, get)
	} else {
		// Consul adds up to a sixteenth to the time, so that not all who wait come back at once.
		err = within(ctx, wait+wait/16+b.bound, get)
	}
	if err != nil {
		return view{}, err
	}
	now := view{index: meta.LastIndex}
	if meta.LastIndex < index {
		now.index = 0 // the store was restored: its index counts anew
	}
	if pair != nil {
		now.kv = *pair
	}
	return now, nil
}

// createSession makes a session without health checks, so that nothing but its TTL and an operator ends
// it. The call of package api that does this cannot ask for no lock-delay.
func (b *Backend) createSession(ctx context.Context) (id string, _ error) {
	name := b.name
	if name == "" {
		name = defaultName
	}
	var created struct{ ID string }
	err := b.request(ctx, func(ctx context.Context) error {
		_, err := b.client.Raw().Write("/v1/session/create", map[string]any{
			"Name":       name,
			"TTL":        b.ttl.String(),
			"LockDelay":  b.lockDelay.String(),
			"Behavior":   api.SessionBehaviorDelete,
			"NodeChecks": []string{},
		}, &created, writing(ctx))
		return err
	})
	if err == nil && created.ID == "" {
		err = errors.New("the new session has no id")
	}
	return created.ID, err
}

// renewSession keeps a session alive. The call of package api that does this loses the reason of a failure.
func (b *Backend) renewSession(ctx context.Context, id string) error {
	err := within(ctx, b.bound, func(ctx context.Context) error {
		return repeat(ctx, func(ctx context.Context) error {
			_, err := b.client.Raw().Write("/v1/session/renew/"+id, nil, nil, writing(ctx))
			return err
		})
	})
	if status, ok := errors.AsType[api.StatusError](err); ok && status.Code == http.StatusNotFound {
		return fmt.Errorf("%w: %w", errSessionLost, err)
	}
	return err
}

func (b *Backend) destroySession(ctx context.Context, id string) error {
	return b.request(ctx, func(ctx context.Context) error {
		_, err := b.client.Session().Destroy(id, writing(ctx))
		return err
	})
}
