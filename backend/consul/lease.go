package consul

import (
	"context"
	"errors"
	"runtime"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
	"github.com/hustings-go/hustings/backend/internal/flight"
)

// Lease is one term of one key: the key and its sibling, locked by the session since one transaction. See
// [backend.Lease] for the contract.
type Lease struct {
	b   *Backend
	c   *candidacy
	won backend.Grant
}

// Token returns the modify index of the sibling: the index of the transaction in which the key was taken
// in the log of Consul's servers. So it grows from term to term, deletion or not. It does not block.
func (l *Lease) Token() uint64 { return l.c.token }

// Grant returns the promise that stood when the key was won: the latest renewal of the session, up to a
// third of the TTL old, or the session's own beginning. It does not block.
func (l *Lease) Grant() backend.Grant { return l.won }

// Renew keeps the session alive and then has Consul check, in a consistent read that brings no values, that
// the session still holds the key under this term's token. The renewal is shared: Renew finds one in the
// air and waits for it, or takes the answer to one that was sent since this term's last and
// less than a fifth of the TTL ago; the Grant says when it was sent. Checks that fall together are one
// request, sent after each of them was asked for; or, of more than 64 terms in one folder, a list of its keys that shows that
// nothing has changed since they were checked (see the package documentation). ErrLost comes from reading the
// record, never from the session alone. Each request is bounded.
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
	var air *flight.Flight
	if s.grant.Sent.Since(c.grant.Sent) <= 0 || !s.fresh(backend.Now()) {
		air = s.renewing.Board(ctx)
		s.surveys.askers++
	}
	before := s.surveys.begun
	b.mu.Unlock()
	var renewed error
	proved := false
	if air != nil {
		renewed = air.Await(ctx)
		b.mu.Lock()
		s.surveys.askers--
		proved = renewed == nil && c.surveyed > before // by one that began after Renew did
		b.mu.Unlock()
	}
	if renewed != nil && !errors.Is(renewed, errSessionLost) {
		return backend.Grant{}, renewed
	}
	if !proved {
		if err := l.prove(ctx); err != nil {
			return backend.Grant{}, err
		}
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
	if err := l.quit(ctx); err != nil {
		return err
	}
	b.settle(ctx, c.session)
	return backend.ErrLost
}

// quit removes what the term holds, and sees the end of what was asked for its sake.
func (l *Lease) quit(ctx context.Context) error {
	err := l.b.remove(ctx, l.c)
	l.b.seeOff(ctx, l.c.key)
	return err
}

// examine reads the record after a transaction was refused because of it, and returns ErrLost, or the
// refusal if the record is this term's own all the same.
func (l *Lease) examine(ctx context.Context, refusal error) error {
	r, err := l.b.read(ctx, l.c.key)
	if err != nil {
		return err
	}
	if r.isTerm(l.c.session.id, l.c.token) {
		return refusal
	}
	l.ended(ctx)
	return backend.ErrLost
}

// ended notes that the term is over, and gives up what may be left of it: a half that nobody took away.
func (l *Lease) ended(ctx context.Context) {
	b, c := l.b, l.c
	b.mu.Lock()
	if !c.gone {
		b.give(c, backend.Now())
		b.touch(c.key)
		b.doubt(c.session)
	}
	b.mu.Unlock()
	ctx = context.WithoutCancel(ctx)
	_ = l.quit(ctx) // what could not be given up is remembered
	b.settle(ctx, c.session)
}

// Wait watches the key with a blocking query, which it shares with all who watch the same key, if there is one to
// be had (see WithMaxQueries); if not, it looks when another term of the session was lost, and is told when the next Renew
// finds the loss. It proves the record before and after every change, so that ErrLost is never a stale answer's word.
func (l *Lease) Wait(ctx context.Context) error {
	return calls.Wait(ctx, func(tell func(error)) (stop func()) { return l.TellLoss(ctx, tell) },
		func(err error) error { return l.b.wrap("wait", l.c.key, err) })
}

// TellLoss tells what Wait returns; see [backend.LossTeller]. It has a goroutine only while there is something to
// look at. The query that it shares may go on for a tenth of a second after stop, for the term's sake; it ends before Resign returns.
func (l *Lease) TellLoss(ctx context.Context, tell func(error)) (stop func()) {
	w := &lookout{l: l}
	return l.b.keepVigil(ctx, l.c.key, w.turn, func(err error) { tell(l.b.wrap("wait", l.c.key, err)) })
}

// lookout waits for the loss of one term. Its vigil takes its turns, one at a time.
type lookout struct {
	l     *Lease
	began bool
	at    *entry // the key's, as this term's own; nil before it was seen
}

// turn looks whether the term goes on, if there is reason to.
func (w *lookout) turn(ctx context.Context, now *api.KVPair) (read *api.KVPair, _ error) {
	l, s := w.l, w.l.c.session
	if !w.began {
		runtime.Gosched() // who was told of the win just before goes first
	}
	l.b.mu.Lock()
	gone := s.over
	l.b.mu.Unlock()
	var at *entry
	if now != nil {
		at = new(entryOf(now))
	}
	known := at != nil && now.Session == s.id && (w.at == nil || *w.at == *at)
	if !w.began || gone || !known {
		if err := l.prove(ctx); err != nil {
			return nil, err
		}
	}
	if gone {
		return nil, errSessionLost
	}
	w.began, w.at = true, at
	return nil, nil
}

// Proclaim writes value to the key in a transaction on the condition that the record is still this term's
// own, and leaves the sibling alone. After an error the value may or may not have been written, and it may be
// tried again. Values of more than MaxValueLen bytes are refused with a permanent error. It does not keep
// value.
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
	results, err := l.b.commit(ctx, proclaiming(l.c.key, l.c.session.id, l.c.token, value))
	if failedCheck(err) {
		return l.examine(ctx, err)
	}
	if err == nil {
		l.b.mu.Lock()
		defer l.b.mu.Unlock()
		l.b.touch(l.c.key)
		if lead := find(results, l.c.key); lead != nil {
			l.c.index = lead.ModifyIndex
		}
	}
	return err
}

// Resign deletes the key and its sibling on the condition that they are still this term's own, which hands
// over at once, without a lock-delay, and ends the query that Wait may have left behind. After Close, the
// last Resign on the session also destroys it. After an error the term is given up all the same: the key is
// not kept beyond the life of the session, which is not renewed for its sake, and is given up before this
// Backend campaigns for it again.
func (l *Lease) Resign(ctx context.Context) error {
	b, c := l.b, l.c
	b.mu.Lock()
	b.give(c, backend.Now())
	b.mu.Unlock()
	if err := l.quit(ctx); err != nil {
		b.settle(ctx, c.session)
		return b.wrap("resign", c.key, err)
	}
	b.settle(context.WithoutCancel(ctx), c.session)
	return nil
}
