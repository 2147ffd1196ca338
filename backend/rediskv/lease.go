package rediskv

import (
	"context"
	"strconv"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
)

// Lease is one term of one key: the record that its candidacy wrote. See [backend.Lease] for the contract.
type Lease struct {
	b     *Backend
	c     *candidacy
	token uint64
	won   backend.Grant
}

// Token returns what the key's counter was raised to when the key was won. It does not block. It grows from
// term to term for as long as Redis keeps what it acknowledged: see the package's words on failover.
func (l *Lease) Token() uint64 { return l.token }

// Grant returns the promise that came with winning. It does not block.
func (l *Lease) Grant() backend.Grant { return l.won }

// Renew extends the lease and proves the record, in one step, by a request that is sent after it was called. Renewals
// of several elections of a Backend that come at about the same time go out together, in one round trip: so it
// may wait for others, for up to a sixtieth of the TTL and at most 100 ms. The Grant counts from when the request was
// sent, or from a renewal of another election of the Backend shortly before, and after this term's last: so
// elections that renew in a fixed time after that do so together from then on.
func (l *Lease) Renew(ctx context.Context) (backend.Grant, error) {
	grant, err := l.renew(ctx)
	if err != nil {
		return backend.Grant{}, l.b.wrap("renew", l.c.key, err)
	}
	return grant, nil
}

func (l *Lease) renew(ctx context.Context) (backend.Grant, error) {
	if ctx.Err() != nil {
		return backend.Grant{}, calls.Ended(ctx)
	}
	if err := l.forfeit(ctx); err != nil {
		return backend.Grant{}, err
	}
	r := l.b.join(ctx, l)
	select {
	case <-r.done:
	case <-ctx.Done():
		return backend.Grant{}, calls.Ended(ctx)
	}
	switch {
	case r.err != nil:
		return backend.Grant{}, r.err
	case !r.ours:
		l.b.give(l.c)
		return backend.Grant{}, backend.ErrLost
	}
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.c.grant = backend.Grant{Sent: l.b.inRhythm(r.sent, l.c.grant.Sent), TTL: l.b.ttl}
	return l.c.grant, nil
}

// forfeit answers for a term that was given up already, or lost: what it needs is to be gone from the store,
// and then it is lost.
func (l *Lease) forfeit(ctx context.Context) error {
	if !l.b.isGone(l.c) {
		return nil
	}
	if err := l.b.remove(ctx, l.c); err != nil {
		return err
	}
	return backend.ErrLost
}

// Wait listens to the key's channel, and reads the record first and when something was told, so that ErrLost
// is never a message's word. A record that was deleted by hand without a message shows at the next Renew.
func (l *Lease) Wait(ctx context.Context) error {
	return calls.Wait(ctx, func(tell func(error)) (stop func()) { return l.TellLoss(ctx, tell) },
		func(err error) error { return l.b.wrap("wait", l.c.key, err) })
}

// TellLoss tells what Wait returns; see [backend.LossTeller]. It has a goroutine only while the record is read.
func (l *Lease) TellLoss(ctx context.Context, tell func(error)) (stop func()) {
	return l.b.keepVigil(ctx, l.c.key,
		func(v *vigil, ev event) {
			if ev.kind != renewed && !ev.about(l.token) {
				v.call()
			}
		},
		func(ctx context.Context, _ *vigil) error { return l.prove(ctx) },
		func(err error) { tell(l.b.wrap("wait", l.c.key, err)) })
}

// prove reads the record, and returns ErrLost if it is not this term's own.
func (l *Lease) prove(ctx context.Context) error {
	if l.b.isGone(l.c) {
		return backend.ErrLost
	}
	values, _, err := l.b.read(ctx, l.c.key)
	if err != nil {
		return err
	}
	own := []any{l.b.holder, strconv.FormatUint(l.c.number, 10), strconv.FormatUint(l.token, 10)}
	for i := range own {
		if values[i] != own[i] {
			l.b.give(l.c)
			return backend.ErrLost
		}
	}
	return nil
}

// Proclaim writes value to the record, on the condition that it is still this term's own. It makes one
// bounded request; after an error the value may or may not have been written, and it may be tried again.
// Values of more than MaxValueLen bytes are refused with a permanent error. It does not keep value.
func (l *Lease) Proclaim(ctx context.Context, value []byte) error {
	if err := l.proclaim(ctx, value); err != nil {
		return l.b.wrap("proclaim", l.c.key, err)
	}
	return nil
}

func (l *Lease) proclaim(ctx context.Context, value []byte) error {
	if err := validateValue(value); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return calls.Ended(ctx)
	}
	if err := l.forfeit(ctx); err != nil {
		return err
	}
	text := string(value) // the request may outlive this call
	ours, err := ask(ctx, l.b, func(ctx context.Context) (bool, error) {
		return l.b.scripts.proclaim.Run(ctx, l.b.client, keys(l.c.key), l.b.holder, l.c.number, l.token, text, channel(l.c.key)).Bool()
	})
	if err != nil {
		return err
	}
	if !ours {
		l.b.give(l.c)
		return backend.ErrLost
	}
	return nil
}

// Resign deletes the record on the condition that it is still this term's own, and tells those who wait. It
// makes one bounded request, together with those of other elections of the Backend that begin or end at the same time. After
// an error the term is given up all the same: nobody renews the record any
// more, and it is replaced when this Backend campaigns for the key again.
func (l *Lease) Resign(ctx context.Context) error {
	l.b.give(l.c)
	if err := l.b.remove(ctx, l.c); err != nil {
		return l.b.wrap("resign", l.c.key, err)
	}
	return nil
}
