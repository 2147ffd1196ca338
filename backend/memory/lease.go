package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hustings-go/hustings/backend"
)

var _ backend.Lease = (*lease)(nil)

// lease is one term. What it may touch in the store is its own record.
type lease struct {
	rec   *record
	token uint64
	grant backend.Grant
	over  atomic.Bool // the record is known to be gone
}

func (l *lease) Token() uint64 { return l.token }

func (l *lease) Grant() backend.Grant { return l.grant }

func (l *lease) Renew(ctx context.Context) (backend.Grant, error) {
	b, rec := l.rec.owner, l.rec
	sent := backend.Now()
	err := b.callAsHolder(ctx, rec, func(now time.Time) { b.store.arm(rec, now) })
	if err != nil {
		return backend.Grant{}, l.note("renew", err)
	}
	return backend.Grant{Sent: sent, TTL: rec.ttl}, nil
}

func (l *lease) Proclaim(ctx context.Context, value []byte) error {
	b, rec := l.rec.owner, l.rec
	err := checkValue(value)
	if err == nil {
		value = bytes.Clone(value)
		err = b.callAsHolder(ctx, rec, func(time.Time) {
			rec.value = value
			b.store.keys[rec.key].tell()
		})
	}
	if err != nil {
		return l.note("proclaim", err)
	}
	return nil
}

// Wait tells of Depose and of Resign, and not of expiry: a holder that could not renew must not count
// on being told.
func (l *lease) Wait(ctx context.Context) error {
	b, rec := l.rec.owner, l.rec
	err := b.call(ctx, b.closed, func(time.Time) {})
	if err == nil {
		err = until(ctx, b.closed, rec.told)
	}
	if err == nil {
		err = b.hear(ctx)
	}
	if err == nil {
		err = backend.ErrLost
	}
	return l.note("wait", err)
}

func (l *lease) Resign(ctx context.Context) error {
	if l.over.Load() {
		return nil
	}
	b, rec := l.rec.owner, l.rec
	b.abandon(rec) // until the store has confirmed
	err := b.call(ctx, nil, func(now time.Time) {
		b.store.remove(rec, now)
		rec.tell()
	})
	if err != nil {
		return fmt.Errorf("memory: resign %w", keyed(rec.key, err))
	}
	l.over.Store(true)
	return nil
}

// note remembers from err whether the term is known to be over, and returns it for the caller of verb.
func (l *lease) note(verb string, err error) error {
	if errors.Is(err, backend.ErrLost) {
		l.over.Store(true)
		l.rec.owner.abandon(l.rec) // it can stand only if a test had the error made up
	}
	return fmt.Errorf("memory: %s %w", verb, keyed(l.rec.key, err))
}
