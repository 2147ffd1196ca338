package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// withdrawBound bounds the try to take back what a failed Campaign left in the store, which goes on
// after the caller's context has ended.
const withdrawBound = time.Second

var errRemoved = errors.New("the candidacy is gone from the store: it expired or was removed")

// Campaign waits in the key's queue as [backend.Backend] describes. Values are at most MaxValueLen
// bytes. If the candidacy has expired in the store, as it does when the session was cut for longer than
// the TTL, it returns a passing error.
func (b *Backend) Campaign(ctx context.Context, key string, value []byte) (backend.Lease, error) {
	l, err := b.campaign(ctx, key, value)
	if err != nil {
		return nil, fmt.Errorf("memory: campaign %w", keyed(key, err))
	}
	return l, nil
}

func (b *Backend) campaign(ctx context.Context, key string, value []byte) (*lease, error) {
	if err := backend.ValidateKey(key); err != nil {
		return nil, err
	}
	if err := checkValue(value); err != nil {
		return nil, err
	}
	rec := newRecord(b, key, bytes.Clone(value))
	leftover, err := b.register(rec)
	if err != nil {
		return nil, err
	}
	grant, err := b.stand(ctx, rec, leftover)
	if err != nil {
		b.withdraw(ctx, rec)
		return nil, err
	}
	return &lease{rec: rec, token: rec.token, grant: grant}, nil
}

// register notes that rec is the session's candidacy for its key, and returns what an earlier one left
// behind.
func (b *Backend) register(rec *record) (leftover *record, err error) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	switch {
	case b.ended:
		return nil, backend.ErrClosed
	case b.mine[rec.key] != nil:
		return nil, backend.ErrBusy
	}
	b.mine[rec.key] = rec
	return b.leftovers[rec.key], nil
}

// stand enters rec into the store and waits until it is seen there as the holder.
func (b *Backend) stand(ctx context.Context, rec, leftover *record) (backend.Grant, error) {
	s := b.store
	if leftover != nil {
		err := b.call(ctx, b.closed, func(now time.Time) { s.remove(leftover, now) })
		if err != nil {
			return backend.Grant{}, fmt.Errorf("removing what the last term or candidacy left: %w", err)
		}
	}
	var won bool
	sent := backend.Now()
	err := b.call(ctx, b.closed, func(now time.Time) {
		s.enqueue(rec, now)
		won = s.holds(rec, now)
		rec.held = won
	})
	if err != nil {
		return backend.Grant{}, err
	}
	if !won {
		if err := until(ctx, b.closed, rec.woken); err != nil {
			return backend.Grant{}, err
		}
		// Being woken is a hint. The store is asked, and the lease starts anew with the answer.
		sent = backend.Now()
		err := b.call(ctx, b.closed, func(now time.Time) {
			if won = s.holds(rec, now); won {
				rec.held = true
				s.arm(rec, now)
			}
		})
		if err != nil {
			return backend.Grant{}, err
		}
	}
	if !won {
		return backend.Grant{}, errRemoved
	}
	return backend.Grant{Sent: sent, TTL: rec.ttl}, nil
}

// withdraw ends a candidacy that failed: it tries once, within a bound, to take it out of the store, and
// otherwise leaves it to the next Campaign for the key, or to its TTL.
func (b *Backend) withdraw(ctx context.Context, rec *record) {
	if !b.abandon(rec) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawBound)
	defer cancel()
	// The record stays among the leftovers if the call fails.
	_ = b.call(ctx, nil, func(now time.Time) { b.store.remove(rec, now) })
}

// abandon moves rec to the session's leftovers, and reports whether it stands in the store and can be
// reached there. A leftover is not kept alive.
func (b *Backend) abandon(rec *record) (reachable bool) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	if b.mine[rec.key] == rec {
		delete(b.mine, rec.key)
	}
	if !rec.standing {
		return false
	}
	b.leftovers[rec.key] = rec
	if !rec.timed {
		b.store.arm(rec, time.Now())
	}
	return b.faults.cut == nil
}

// keyed puts the key in front of err.
func keyed(key string, err error) error { return fmt.Errorf("%q: %w", key, err) }
