package etcd

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
	"github.com/hustings-go/hustings/retry"
)

// grace is how long the write of a candidate's record may go on after its caller has gone, so that the
// answer usually still tells what is to be removed.
const grace = time.Second

// Campaign stands for key with value announced, and blocks until it is won or fails. See
// [backend.Backend] for the contract; what is etcd's own:
//
// Candidates queue in the order in which their records were created, together with those that use
// package concurrency or etcdctl on the same prefix. Each watches the record before its own, and its
// own, so that one resignation wakes one candidate. Who finds the key free wins by the write of its record, and who is second
// wins by the deletion of the first record, if the watch that tells of it does not tell that its own is gone as well. Everybody
// else reads its place, which takes one request, when the record before its own was deleted. A keep-alive every third of the TTL
// keeps the session; a look at the queue once per TTL, for all candidates of the Backend together, is there in case
// that a watch fell silent, and tells who has become second.
//
// Errors: ErrBusy, ErrClosed; permanent ones for a bad key, a value of more than MaxValueLen bytes, a
// refused login, or a client that was closed; an ErrDenied when a right is missing. Everything else
// passes, the loss of the session included: the next Campaign makes a new session, and is a new candidacy
// at the end of the queue. After every error the record was removed in one bounded try, or will be before
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
	if err := validateValue(value); err != nil {
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
	if err = w.win(ctx, value); err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		c.leads, c.grant, c.watch = true, c.session.grant, w.own
		if b.calls.Closed() {
			b.unwatch(c)
		}
		return c, nil
	}
	w.unwatch(&w.own)
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
		if !c.leads || !over(backend.Now(), c.grant) {
			return nil, backend.ErrBusy
		}
		b.give(c, c.grant.Sent)
	}
	c := &candidacy{key: key}
	b.standing[key] = c
	return c, nil
}

// withdraw gives c up, with one bounded try to remove its record. What remains is remembered by give.
func (b *Backend) withdraw(ctx context.Context, c *candidacy) {
	b.mu.Lock()
	b.give(c, backend.Now())
	s, written := c.session, c.written
	b.mu.Unlock()
	if s == nil {
		return
	}
	if written {
		// The caller has the error that led here. What remains is remembered.
		_ = b.remove(ctx, c)
	}
	b.settle(ctx, s)
}

// waiter is a candidacy on its way to the front of the queue.
type waiter struct {
	b *Backend
	c *candidacy

	own         *watch        // the candidate's own record, from its first wait on, with the one before it if that is the only one
	predecessor *watch        // the one right before it if there are others
	news        chan struct{} // of capacity 1: one of them was deleted, or its watch has ended
}

// win writes the record and returns nil when it was seen in the store, at some revision, as the first of its key.
func (w *waiter) win(ctx context.Context, value []byte) error {
	if err := w.b.tidy(ctx, w.c.key); err != nil {
		return err
	}
	place, err := w.enter(ctx, value)
	if err != nil {
		return err
	}
	w.news = make(chan struct{}, 1)
	for !place.first {
		if place, err = w.follow(ctx, place); err != nil {
			return err
		}
	}
	return nil
}

// enter joins the session and writes the record, on a new session if the one there was turns out to be gone.
func (w *waiter) enter(ctx context.Context, value []byte) (place, error) {
	if err := w.b.join(ctx, w.c); err != nil {
		return place{}, err
	}
	p, err := w.enlist(ctx, value)
	if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return p, err
	}
	if err := w.b.join(ctx, w.c); err != nil {
		return place{}, err
	}
	return w.enlist(ctx, value)
}

// place is where a candidate stood in the queue at a revision of the store.
type place struct {
	first  bool   // nobody was before it
	ahead  string // the record right before its own
	second bool   // there is no other
	at     int64
}

// enlist creates the record. One transaction writes it and reads who was there before, so that on a free
// key the answer is already the win.
func (w *waiter) enlist(ctx context.Context, value []byte) (place, error) {
	b, c := w.b, w.c
	// A write that is broken off may or may not have happened; so the caller's leaving does not break it
	// off at once.
	patient, cancel := calls.Linger(ctx, grace)
	defer cancel()
	b.mu.Lock()
	c.written = true
	b.mu.Unlock()
	var resp *clientv3.TxnResponse
	err := b.request(patient, func(ctx context.Context) (err error) {
		resp, err = b.client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(c.path), "=", 0)).
			Then(clientv3.OpPut(c.path, string(value), clientv3.WithLease(c.session.id)),
				clientv3.OpGet(prefix(c.key), clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1+nestedAllowance),
					clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortDescend))).
			Commit()
		return err
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err != nil:
		c.written = !b.refused(c.session, err)
		c.session.spent = c.session.spent || c.written
		return place{}, err
	case !resp.Succeeded:
		// A record under our own lease that this candidacy did not write is not inherited: its term, or
		// its queueing, may long be over. Another session is clear of it.
		c.session.spent = true
		return place{}, errors.New("the session's record exists already")
	}
	c.rev = resp.Header.Revision
	return w.place(resp.Responses[1].GetResponseRange(), resp.Header.Revision), nil
}

// refused reports whether err proves that the write did not happen, nor will. b.mu must be held.
func (b *Backend) refused(s *session, err error) bool {
	err = b.classify(err)
	if errors.Is(err, errSessionLost) {
		b.bury(s)
	}
	return s.over || retry.IsPermanent(err) || errors.Is(err, backend.ErrDenied)
}

// look reads the candidate's place, on the condition that its record is still there: waiting that ended
// proves nothing about it.
func (w *waiter) look(ctx context.Context) (place, error) {
	b, c := w.b, w.c
	for limit := int64(1 + nestedAllowance); ; limit = 0 {
		queue, err := b.ask(ctx, question{read: upTo(c.key, c.rev, limit)})
		if err != nil {
			return place{}, err
		}
		if !c.isAmong(queue.found.Kvs) {
			return place{}, w.vanished()
		}
		if p := w.place(queue.found, queue.at); p.first || p.ahead != "" {
			return p, nil
		}
	}
}

// place reads a place from an answer that lists records from the newest to the oldest. Where it lists
// none that counts and there are more, place is neither first nor behind anybody.
func (w *waiter) place(found *etcdRange, at int64) place {
	p := place{at: at}
	for _, kv := range found.Kvs {
		path := string(kv.Key)
		switch {
		case path == w.c.path || !isCandidate(w.c.key, path):
		case p.ahead != "":
			return p
		default:
			p.ahead = path
		}
	}
	p.first, p.second = p.ahead == "" && !found.More, p.ahead != "" && !found.More
	return p
}

// vanished notes that the record is gone, and so nothing is left to remove.
func (w *waiter) vanished() error {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	w.c.written = false
	return errRecordGone
}

// follow waits until the candidate's place is another than p, and keeps the session alive meanwhile.
//
// A deletion, or a TTL of silence, is a hint, upon which the place is read; but for one case. Who was second at p.at is first
// from that revision on at which the only record before its own was deleted, if its own stood then, since nobody can get in
// before a record that is there. Both are watched by one watch, which tells of all deletions after p.at, in their order and
// those at one revision together, whether or not etcd has to catch up with it, and also when the stream broke in between. So
// if it tells of the other record and not of its own, that is the win, at that revision: a lease that ends, by time or by
// somebody's hand, deletes the record. What happens to the record later is what can happen to any leader's. How long the win
// may be trusted is told by the session's grant, as ever; where that is not as fresh as candidates keep it, the place is read
// all the same.
func (w *waiter) follow(ctx context.Context, p place) (place, error) {
	if p.ahead == "" {
		return w.look(ctx)
	}
	b, s := w.b, w.c.session
	w.watch(p)
	defer w.unwatch(&w.predecessor)
	silence := time.NewTimer(b.untilLook())
	defer silence.Stop()
	pulse := b.pulse(s)
	defer pulse.Stop()
	deaf := false // a watch broke, or a look failed. The place in the queue is worth another one, once the store can be reached.
	for {
		select {
		case <-w.news:
			n, err := w.heard(p)
			switch {
			case err != nil && b.final(err):
				return place{}, err
			case n.left && !n.gone && p.second && b.kept(s):
				return place{first: true}, nil
			case n.left || n.gone:
				return w.look(ctx)
			}
			deaf = deaf || err != nil
		case <-pulse.Due():
			pulse.Send(ctx)
		case <-pulse.Answered():
			if err := pulse.Check(); err != nil {
				return place{}, err
			}
			if deaf && b.reached(s) {
				return w.look(ctx)
			}
		case <-s.lost:
			return place{}, errSessionLost
		case <-silence.C:
			now, err := w.look(ctx)
			if err != nil && ctx.Err() == nil && !b.final(err) && !errors.Is(err, errRecordGone) {
				deaf = true
				silence.Reset(b.untilLook())
				continue
			}
			if err != nil || deaf || now.first || now.ahead != p.ahead || now.second != p.second {
				return now, err
			}
			silence.Reset(b.untilLook())
		case <-ctx.Done():
			return place{}, calls.Ended(ctx)
		}
	}
}

func (w *waiter) rouse() {
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// watch watches what there is to watch in the place p.
func (w *waiter) watch(p place) {
	ws := w.b.watches
	if p.second {
		both := ws.open(removals(p.ahead, w.c.path), p.at+1, w.rouse)
		w.unwatch(&w.own)
		w.own = both
		return
	}
	w.predecessor = ws.open(removal(p.ahead), p.at+1, w.rouse)
	if w.own == nil {
		w.own = ws.open(removal(w.c.path), p.at+1, w.rouse)
	}
}

// departures is what the watches told of.
type departures struct {
	left bool // the record before the candidate's own was deleted
	gone bool // its own was, or may have been
}

// heard takes what the watches told, or why one has ended.
func (w *waiter) heard(p place) (n departures, trouble error) {
	for _, at := range []**watch{&w.predecessor, &w.own} {
		if *at == nil {
			continue
		}
		events, err := w.b.watches.take(*at)
		for _, ev := range events {
			switch string(ev.Kv.Key) {
			case w.c.path:
				n.gone = true
			case p.ahead:
				n.left = true
			default: // between them
			}
		}
		if err == nil {
			continue
		}
		w.unwatch(at)
		if errors.Is(err, rpctypes.ErrCompacted) {
			n.gone = true // a deletion is not there to be told any more
		} else {
			trouble = err
		}
	}
	return n, trouble
}

// final reports whether a watch that ended with err, or a look that failed, is not worth another try by this candidacy.
func (b *Backend) final(err error) bool {
	err = b.classify(err)
	return retry.IsPermanent(err) || errors.Is(err, backend.ErrDenied) || errors.Is(err, rpctypes.ErrNoLeader)
}

// kept reports whether s is kept alive as candidates keep it, three times per TTL. An election takes a win on a grant that is
// a little older without another renewal.
func (b *Backend) kept(s *session) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !s.over && backend.Now().Since(s.grant.Sent) < s.grant.TTL/3
}

// reached reports whether the session was heard of just now.
func (b *Backend) reached(s *session) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return s.fresh(backend.Now())
}

func (w *waiter) unwatch(at **watch) {
	if *at != nil {
		w.b.watches.close(*at)
		*at = nil
	}
}
