package zookeeper

import (
	"bytes"
	"context"
	"errors"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
)

// Lease is one term of one key: the node that its candidacy created, first in the queue of its key.
// See [backend.Lease] for the contract.
type Lease struct {
	b   *Backend
	c   *candidacy
	won backend.Grant
}

// Token returns the id of the transaction that created the node (its czxid). It grows from leader to
// leader, because leaders are served in the order in which their nodes were created; and across deletion of
// the election's node, which starts the sequence numbers anew, because transactions count for the whole store. It does not block.
func (l *Lease) Token() uint64 { return uint64(l.c.token) }

// Grant returns the promise that the win goes by: of the latest write of the session, less than a quarter of the TTL before, or of one
// that proved the win. It does not block.
func (l *Lease) Grant() backend.Grant { return l.won }

// Renew writes to the store on the condition that the node is there. The write changes nothing, so that nobody
// who watches the node wakes. It is sent after Renew was called, in one transaction with those of other terms of the
// session that renew at the same time: one bounded request, and another one if a term that was proved with it is lost.
// The Grant counts from before the write, or from that of another term's renewal less than a fifth of the TTL before, so
// that terms come to renew together. ErrLost is the store's own answer, or its word that the session has expired.
func (l *Lease) Renew(ctx context.Context) (backend.Grant, error) {
	grant, err := l.renew(ctx)
	if err != nil {
		return backend.Grant{}, l.b.wrap("renew", l.c.key, err)
	}
	return grant, nil
}

func (l *Lease) renew(ctx context.Context) (backend.Grant, error) {
	b, c := l.b, l.c
	if err := l.forfeit(ctx); err != nil {
		return backend.Grant{}, err
	}
	grant, err := b.proveAmong(ctx, c)
	if err != nil {
		return backend.Grant{}, l.failed(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case c.gone:
		return backend.Grant{}, backend.ErrLost
	case c.session.doomed:
		return backend.Grant{}, errSessionLost
	}
	c.grant = c.session.inStep(c, grant, c.session.ttl()/stepPart)
	return c.grant, nil
}

// forfeit answers for a term that is over by its own clock or was given up already: what it needs is to
// be gone from the store, and then it is lost.
func (l *Lease) forfeit(ctx context.Context) error {
	b, c := l.b, l.c
	b.mu.Lock()
	if now := backend.Now(); c.lapsed(now) {
		b.give(c, now)
	}
	gone := c.gone
	b.mu.Unlock()
	if !gone {
		return nil
	}
	if err := b.remove(ctx, c); err != nil {
		return err
	}
	b.settle(c.session)
	return backend.ErrLost
}

// failed turns the error of a request into ErrLost where the store has said that the node is gone, with
// its session if not by itself.
func (l *Lease) failed(err error) error {
	if l.lost(err) {
		l.b.settle(l.c.session)
		return backend.ErrLost
	}
	return err
}

// lost notes that the node is gone, and reports whether that is what the error of a request says.
func (l *Lease) lost(err error) bool {
	b, c := l.b, l.c
	b.mu.Lock()
	expired := c.session.expired
	b.mu.Unlock()
	if !expired && !errors.Is(err, backend.ErrLost) {
		return false
	}
	b.forget(c)
	return true
}

// Wait watches the node, and makes no requests but one before, if nobody watches the node yet, and one after: ErrLost is
// never a watch's word alone, nor an absence of the connection, which only lets the term run out.
func (l *Lease) Wait(ctx context.Context) error {
	return calls.Wait(ctx, func(tell func(error)) (stop func()) { return l.TellLoss(ctx, tell) },
		func(err error) error { return l.b.wrap("wait", l.c.key, err) })
}

// TellLoss tells what Wait returns; see [backend.LossTeller]. It has a goroutine only while there is something to look at.
func (l *Lease) TellLoss(ctx context.Context, tell func(error)) (stop func()) {
	w := &lookout{vigil: vigil{b: l.b, session: l.c.session}, l: l, tell: tell}
	return w.begin(ctx, w, true)
}

// lookout waits for the loss of one term. Its vigil takes its turns.
type lookout struct {
	vigil
	l    *Lease
	tell func(error)
}

func (w *lookout) failed(err error) { w.tell(w.b.wrap("wait", w.l.c.key, err)) }

// turn looks whether the node is there.
func (w *lookout) turn(ctx context.Context) error {
	there, err := w.b.watchNode(ctx, w.session, w.l.c.path, &w.ear)
	switch {
	case ctx.Err() != nil || err == nil && there:
		return nil
	case err == nil: // the server has seen its creation, so that it is gone for good
		err = backend.ErrLost
	}
	if w.l.lost(err) {
		w.b.retire(w.session)
		return backend.ErrLost
	}
	return err
}

// Proclaim writes value to the node, on the condition that it is there. It makes one
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
	value = bytes.Clone(value)
	_, err := ask(ctx, l.c.session, func(conn *zk.Conn) (*zk.Stat, error) {
		if err := l.c.session.makeRoom(value); err != nil {
			return nil, err
		}
		return conn.Set(l.c.path, value, -1)
	})
	if errors.Is(err, zk.ErrNoNode) {
		err = backend.ErrLost
	}
	if err != nil {
		return l.failed(err)
	}
	return nil
}

// Resign deletes the node. It makes one bounded
// request; after Close, the last one also ends the session. After an error the term is
// given up all the same: the node is not kept alive beyond a TTL and is removed before this Backend
// campaigns for the key again.
func (l *Lease) Resign(ctx context.Context) error {
	b, c := l.b, l.c
	b.mu.Lock()
	b.give(c, backend.Now())
	b.mu.Unlock()
	if err := b.remove(ctx, c); err != nil {
		return b.wrap("resign", c.key, err)
	}
	b.settle(c.session)
	return nil
}
