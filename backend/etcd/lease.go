package etcd

import (
	"context"
	"errors"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
	"github.com/hustings-go/hustings/backend/internal/flight"
)

// Lease is one term of one key: the record that its candidacy created, first in the queue of its key.
// See [backend.Lease] for the contract.
type Lease struct {
	b   *Backend
	c   *candidacy
	won backend.Grant
}

// Token returns the create revision of the record. It grows from leader to leader, because leaders are
// served in the order of their create revisions; and across deletion, because revisions count all
// writes to the cluster. It does not block.
func (l *Lease) Token() uint64 { return uint64(l.c.rev) }

// Grant returns the promise that stood when the key was won: the latest keep-alive of the session, up to
// a third of the TTL old, or the lease's own beginning. It does not block.
func (l *Lease) Grant() backend.Grant { return l.won }

// Renew keeps the session alive and then reads the record. The keep-alive is shared: a renewal finds one
// in the air and waits for it, or takes the answer to one that was sent since this term's last renewal and
// less than a fifth of the TTL ago; the Grant says when it was sent. The record is read after Renew was called,
// or compared, in one transaction with those of other terms that renew at the same time. It makes two requests, each bounded,
// and a third only if etcd refused to read those records together, or if more than 128 were and one of them is lost. Of more than 256
// elections on one Backend, a renewal waits 20 ms for others, and one read answers for all of them where it can; see the package
// documentation. ErrLost comes from the record, never from the keep-alive alone.
func (l *Lease) Renew(ctx context.Context) (backend.Grant, error) {
	grant, err := l.renew(ctx)
	if err != nil {
		return backend.Grant{}, l.b.wrap("renew", l.c.key, err)
	}
	return grant, nil
}

func (l *Lease) renew(ctx context.Context) (backend.Grant, error) {
	if err := l.forfeit(ctx); err != nil {
		return backend.Grant{}, err
	}
	b, c, s := l.b, l.c, l.c.session
	b.mu.Lock()
	b.unwatch(c)
	var air *flight.Flight
	if s.grant.Sent.Since(c.grant.Sent) <= 0 || !s.fresh(backend.Now()) {
		air = s.renewing.Board(ctx)
	}
	b.mu.Unlock()
	var renewed error
	if air != nil {
		renewed = air.Await(ctx)
	}
	if renewed != nil && !errors.Is(renewed, rpctypes.ErrLeaseNotFound) {
		return backend.Grant{}, renewed
	}
	if _, err := l.prove(ctx); err != nil {
		return backend.Grant{}, err
	}
	if renewed != nil {
		return backend.Grant{}, renewed
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.gone {
		return backend.Grant{}, backend.ErrLost
	}
	c.grant = s.grant
	return c.grant, nil
}

// forfeit answers for a term that is over by its own clock or was given up already: what it needs is to
// be gone from the store, and then it is lost.
func (l *Lease) forfeit(ctx context.Context) error {
	b, c := l.b, l.c
	b.mu.Lock()
	if !c.gone && over(backend.Now(), c.grant) {
		b.give(c, c.grant.Sent)
	}
	gone := c.gone
	b.mu.Unlock()
	if !gone {
		return nil
	}
	if err := b.remove(ctx, c); err != nil {
		return err
	}
	b.settle(ctx, c.session)
	return backend.ErrLost
}

// prove asks for the record and returns the revision at which it was still this term's own, or ErrLost. The
// answer is linearizable, and was asked for after prove was called.
func (l *Lease) prove(ctx context.Context) (at int64, _ error) {
	record, err := l.b.ask(ctx, question{l.c.record(), l.c})
	if err != nil {
		return 0, err
	}
	if !record.stands {
		l.ended(ctx)
		return 0, backend.ErrLost
	}
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.c.stood = max(l.c.stood, record.at)
	return record.at, nil
}

// ended notes that the record is known to be gone.
func (l *Lease) ended(ctx context.Context) {
	b, c := l.b, l.c
	b.mu.Lock()
	c.written = false
	b.give(c, backend.Now())
	delete(c.session.leftovers, c)
	b.mu.Unlock()
	b.settle(context.WithoutCancel(ctx), c.session)
}

// Wait watches the record, which goes with the session's lease when that expires, and makes no other
// requests. It reads the record after that, so that ErrLost is never a stale watch's word; and before, unless it goes on with the
// watch of a Campaign that had to wait.
func (l *Lease) Wait(ctx context.Context) error {
	return calls.Wait(ctx, func(tell func(error)) (stop func()) { return l.TellLoss(ctx, tell) },
		func(err error) error { return l.b.wrap("wait", l.c.key, err) })
}

// TellLoss tells what Wait returns; see [backend.LossTeller]. It does not block, and has a goroutine only while it reads the
// record. What passes is told when the stream of watches has broken and could not be opened again at once.
func (l *Lease) TellLoss(ctx context.Context, tell func(error)) (stop func()) {
	o := &lookout{l: l, tell: tell}
	return l.b.keep(ctx, l.c, &o.vigil, o)
}

// lookout waits for the loss of one term.
type lookout struct {
	vigil
	l    *Lease
	tell func(error)
}

// turn reads the record if there is reason to.
func (o *lookout) turn(ctx context.Context, n news) error {
	l := o.l
	l.b.mu.Lock()
	dead := l.c.session.over
	l.b.mu.Unlock()
	// The watch of a campaign tells of more than the record.
	deleted := slices.ContainsFunc(n.events, func(ev *mvccpb.Event) bool { return string(ev.Kv.Key) == l.c.path })
	if !n.anew && !dead && !deleted {
		return nil
	}
	at, err := l.prove(ctx)
	switch {
	case err != nil:
		return err
	case dead:
		return errSessionLost
	case n.anew:
		o.watch(removal(l.c.path), at+1)
	}
	return nil
}

func (o *lookout) end(err error) { o.tell(o.l.b.wrap("wait", o.l.c.key, err)) }

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
	if err := l.forfeit(ctx); err != nil {
		return err
	}
	err := l.b.request(ctx, func(ctx context.Context) error {
		return l.b.election(l.c, l.c.rev).Proclaim(ctx, string(value))
	})
	switch {
	case errors.Is(err, concurrency.ErrElectionNotLeader):
		// The transaction compared the create revision of the record, and it was another's or none.
		l.ended(ctx)
		return backend.ErrLost
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		if _, lost := l.prove(ctx); lost != nil {
			return lost
		}
		return err
	default:
		return err
	}
}

// Resign deletes the record on the condition that it is still this term's own. It makes one bounded
// request; after Close, the last one on the session also revokes its lease. After an error the term is
// given up all the same: the record is not kept alive beyond a TTL and is removed before this Backend
// campaigns for the key again.
func (l *Lease) Resign(ctx context.Context) error {
	b, c := l.b, l.c
	b.mu.Lock()
	b.give(c, backend.Now())
	b.mu.Unlock()
	if err := b.remove(ctx, c); err != nil {
		b.settle(ctx, c.session)
		return b.wrap("resign", c.key, err)
	}
	b.settle(context.WithoutCancel(ctx), c.session)
	return nil
}
