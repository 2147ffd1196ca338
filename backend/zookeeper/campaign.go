package zookeeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
	"github.com/hustings-go/hustings/retry"
)

// grace is how long the creation of a candidate's node may be waited for after its caller has gone, so that
// the answer usually still tells what is to be removed.
const grace = time.Second

// Campaign stands for key with value announced, and blocks until it is won or fails. See
// [backend.Backend] for the contract; what is ZooKeeper's own:
//
// Candidates queue in the order of their sequence numbers, together with those of Curator's LeaderLatch on the same
// path. Each watches the two nodes before its own, and its own, so that one resignation wakes two
// candidates: one leads without a further request, and one sees that it is next. The client's pings keep the session, and while this candidate is next, so do
// five writes per TTL, which all others on the session share; a look at the node before its own, after four TTLs in which nothing happened, is
// there in case that a watch fell silent.
//
// Errors: ErrBusy, ErrClosed; permanent ones for a bad key, a value of more than MaxValueLen bytes, an
// authentication that was refused, or an ACL that cannot be; an ErrDenied when a right is missing. Everything else
// passes, the loss of the session included: the next Campaign makes a new session, and is a new candidacy
// at the end of the queue. After every error the node was removed in one bounded try, or will be before
// key is campaigned for again. Campaign is safe for concurrent use and does not keep value.
func (b *Backend) Campaign(ctx context.Context, key string, value []byte) (backend.Lease, error) {
	if err := backend.ValidateKey(key); err != nil {
		return nil, err
	}
	c, err := b.stand(ctx, key, value)
	if err != nil {
		return nil, b.wrap("campaign", key, err)
	}
	return &Lease{b: b, c: c, won: c.grant}, nil
}

// stand is Campaign without the names in its errors.
func (b *Backend) stand(ctx context.Context, key string, value []byte) (*candidacy, error) {
	if err := errors.Join(validateKey(key), validateValue(value)); err != nil {
		return nil, err
	}
	ctx, leave, err := b.calls.Enter(ctx, true)
	if err != nil {
		return nil, err
	}
	defer leave()
	if ctx.Err() != nil {
		return nil, calls.Ended(ctx)
	}
	c, err := b.reserve(key)
	if err != nil {
		return nil, err
	}
	w := &waiter{b: b, c: c}
	grant, err := w.win(ctx, value)
	if err == nil {
		err = b.crown(c, grant)
	}
	if err == nil {
		return c, nil
	}
	b.withdraw(context.WithoutCancel(ctx), c)
	if ctx.Err() != nil {
		return nil, calls.Ended(ctx)
	}
	return nil, err
}

// reserve makes the candidacy for key, unless there is one. A term that was left to run out, and has,
// makes room.
func (b *Backend) reserve(key string) (*candidacy, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.standing[key]; c != nil {
		if now := backend.Now(); c.lapsed(now) {
			b.give(c, now)
		} else {
			return nil, backend.ErrBusy
		}
	}
	c := newCandidacy(key)
	b.standing[key] = c
	return c, nil
}

// crown makes the candidacy a term, unless its session was given up.
func (b *Backend) crown(c *candidacy, grant backend.Grant) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := c.session
	if s.over || s.doomed {
		return errSessionLost
	}
	c.leads, c.grant = true, s.inStep(c, grant, s.ttl()/joinPart-backend.Now().Since(grant.Sent))
	b.watchOver(s)
	return nil
}

// withdraw gives c up, with one bounded try to remove its node. What remains is remembered by give.
func (b *Backend) withdraw(ctx context.Context, c *candidacy) {
	b.mu.Lock()
	b.give(c, backend.Now())
	s := c.session
	b.mu.Unlock()
	if s == nil {
		return
	}
	// The caller has the error that led here. What remains is remembered.
	_ = b.remove(ctx, c)
	b.settle(s)
}

// waiter is a candidacy on its way to the front of the queue.
type waiter struct {
	b    *Backend
	c    *candidacy
	seen *wire // the connection on which its own node was seen, and watched, last
}

// win creates the node, and returns what the store promises when the node was seen there as the first of its key.
func (w *waiter) win(ctx context.Context, value []byte) (backend.Grant, error) {
	if err := w.b.tidy(ctx, w.c.key); err != nil {
		return backend.Grant{}, err
	}
	if err := w.join(ctx); err != nil {
		return backend.Grant{}, err
	}
	if err := w.enlist(ctx, bytes.Clone(value)); err != nil {
		return backend.Grant{}, err
	}
	at, err := w.look(ctx)
	for {
		switch {
		case err != nil:
			return backend.Grant{}, err
		case at.ahead == "":
			return w.take(ctx)
		}
		var learned outcome
		learned, err = w.follow(ctx, at)
		switch {
		case err != nil:
			return backend.Grant{}, err
		// Nobody else was before its own, and nobody can have got in: there is nothing to look at.
		case at.second && learned == hasLeftUs:
			return w.take(ctx)
		case at.second && learned == hasLeft:
			return w.confirm(ctx)
		}
		at, err = w.look(ctx)
	}
}

// join makes the candidacy a member of the session.
func (w *waiter) join(ctx context.Context) error {
	for {
		s, err := w.b.attend(ctx)
		if err != nil {
			return err
		}
		w.b.mu.Lock()
		joined := !s.over && !s.doomed
		if joined {
			w.c.session = s
			s.members[w.c] = struct{}{}
		}
		w.b.mu.Unlock()
		if joined {
			return nil
		}
	}
}

// enlist creates the node, and those above it where they are missing, and learns the token.
func (w *waiter) enlist(ctx context.Context, value []byte) error {
	err := w.create(ctx, value)
	for tries := 0; errors.Is(err, zk.ErrNoNode) && tries < 2; tries++ { // an empty parent may vanish at once
		if err := w.b.makeNode(ctx, w.c.session, w.b.parent(w.c.key)); err != nil {
			return err
		}
		err = w.create(ctx, value)
	}
	if err != nil {
		return err
	}
	return w.identify(ctx)
}

// create creates the node. A request whose answer is not waited for any longer may still succeed: what
// became of it is noted whenever it is known.
func (w *waiter) create(ctx context.Context, value []byte) error {
	b, c, s := w.b, w.c, w.c.session
	patient, cancel := calls.Linger(ctx, grace)
	defer cancel()
	if err := s.usable(patient); err != nil {
		return err
	}
	creating := make(chan struct{})
	stem := b.parent(c.key) + "/" + prefix(c.id)
	b.mu.Lock()
	c.creating, c.written = creating, true
	b.mu.Unlock()
	grant := s.promise(backend.Now())
	_, err := send(patient, s, func(conn *zk.Conn) (string, error) {
		var node string
		err := s.makeRoom(value)
		if err == nil {
			node, err = conn.Create(stem, value, zk.FlagEphemeralSequential, b.acl)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		defer close(creating)
		if err == nil {
			c.path = node
			s.earned(grant)
		} else if refused(err) {
			c.written = false
			delete(s.leftovers, c)
		}
		return node, err
	})
	return err
}

// refused reports whether err proves that a request was not carried out, nor will be.
func refused(err error) bool {
	marked := classify(err)
	return errors.Is(err, zk.ErrNoNode) || errors.Is(err, errSessionLost) || retry.IsPermanent(marked) || errors.Is(marked, backend.ErrDenied)
}

// makeNode creates the node at p, and those above it where they are missing: containers, which the
// servers remove by themselves once they are empty.
func (b *Backend) makeNode(ctx context.Context, s *session, p string) error {
	make := func() error {
		_, err := ask(ctx, s, func(conn *zk.Conn) (string, error) {
			node, err := conn.CreateContainer(p, nil, zk.FlagContainer, b.acl)
			if errors.Is(err, zk.ErrNodeExists) {
				err = nil
			}
			return node, err
		})
		return err
	}
	err := make()
	if !errors.Is(err, zk.ErrNoNode) || p == "/" {
		return err
	}
	if err := b.makeNode(ctx, s, path.Dir(p)); err != nil {
		return err
	}
	return make()
}

// identify learns the token, and that the node is this session's.
func (w *waiter) identify(ctx context.Context) error {
	node := w.c.path
	stat, err := ask(ctx, w.c.session, func(conn *zk.Conn) (*zk.Stat, error) {
		exists, stat, err := conn.Exists(node)
		if err == nil && !exists {
			err = zk.ErrNoNode
		}
		return stat, err
	})
	switch {
	case errors.Is(err, zk.ErrNoNode):
		return w.vanished()
	case err != nil:
		return err
	case stat.EphemeralOwner != w.c.session.identity():
		return fmt.Errorf("the node %s belongs to another session", node)
	case stat.Czxid < 1:
		return retry.Permanent(fmt.Errorf("the node %s was created by transaction %d, which is no fencing token", node, stat.Czxid))
	}
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	w.c.token = stat.Czxid
	return nil
}

// place is where the candidate's node stands in the queue.
type place struct {
	ahead   string // the path of the node right before its own, or "" when there is none
	further string // the same of the one before that
	second  bool   // there is one before its own, and no other
}

// look reads the queue. The server has seen the creation of this node, and so of all before it, and nobody can get
// in before it any more: that it lags behind the ensemble does not matter.
func (w *waiter) look(ctx context.Context) (place, error) {
	c := w.c
	names, err := w.b.children(ctx, c.session, c.key)
	if err != nil {
		return place{}, err
	}
	names, err = queue(names)
	if err != nil {
		return place{}, err
	}
	switch i := slices.Index(names, path.Base(c.path)); i {
	case -1:
		return place{}, w.vanished()
	case 0:
		return place{}, nil
	case 1:
		return place{ahead: w.b.parent(c.key) + "/" + names[0], second: true}, nil
	default:
		return place{ahead: w.b.parent(c.key) + "/" + names[i-1], further: w.b.parent(c.key) + "/" + names[i-2]}, nil
	}
}

// vanished notes that the node is gone, and so nothing is left to remove.
func (w *waiter) vanished() error {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	w.c.written = false
	return errNodeGone
}

// take returns what the store promises when the node is known to have been the first of its key: the latest that it promised the session, if that
// was of late, and else what a write is worth.
func (w *waiter) take(ctx context.Context) (backend.Grant, error) {
	if grant, fresh := w.c.session.atHand(backend.Now()); fresh {
		return grant, nil
	}
	return w.confirm(ctx)
}

// confirm proves with a write that the node is there, and so that the key is won. After a stop of this
// process too little may be left of the promise: then what it counts from is renewed first.
func (w *waiter) confirm(ctx context.Context) (backend.Grant, error) {
	s := w.c.session
	for {
		grant, err := w.b.prove(ctx, w.c)
		if errors.Is(err, backend.ErrLost) {
			return grant, w.vanished()
		}
		if !errors.Is(err, errWornOut) {
			return grant, err
		}
		pause := time.NewTimer(w.b.tick + w.b.tick/thinning)
		select {
		case <-pause.C:
		case <-s.lost:
			err = errSessionLost
		case <-ctx.Done():
			err = calls.Ended(ctx)
		}
		pause.Stop()
		if !errors.Is(err, errWornOut) {
			return grant, err
		}
	}
}
