package memory

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/hustings-go/hustings/backend"
)

var errOrdered = errors.New("the store failed, as was ordered")

// faults is what was ordered for the calls of a session. Guarded by store.mu.
type faults struct {
	cut     chan struct{} // while the session is cut: closed by Heal
	failing int
	failure error
	hanging int
	losing  int
}

// Depose removes the leader's record of key, as an operator might: the leader's Wait returns ErrLost, and
// the next candidate wins. It reports whether there was a leader.
func (b *Backend) Depose(key string) bool { return b.unseat(key, (*record).tell) }

// Expire ends the leader's lease of key in the store, as if its TTL had run out, and the next candidate
// wins. The leader is not told by Wait: its next Renew returns ErrLost. It reports whether there was a
// leader.
func (b *Backend) Expire(key string) bool { return b.unseat(key, func(*record) {}) }

func (b *Backend) unseat(key string, tell func(*record)) bool {
	s := b.store
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.keys[key]
	if e == nil || e.holder == nil {
		return false
	}
	rec := e.holder
	s.remove(rec, time.Now())
	tell(rec)
	return true
}

// Cut takes the session off the network. Nothing of it reaches the store any more: every call, one that
// waits in Campaign, Observe or Wait included, hangs until its context ends or Heal is called; and Close
// lets Campaign, Observe and Wait go. Its leases and, from now on, its candidacies end in the store when
// their TTL has run out.
func (b *Backend) Cut() {
	s := b.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.faults.cut != nil {
		return
	}
	b.faults.cut = make(chan struct{})
	now := time.Now()
	for _, rec := range b.mine {
		if rec.standing && !rec.timed {
			s.arm(rec, now)
		}
	}
}

// Heal ends Cut. Calls that hung go on; a Campaign whose candidacy has expired in the store returns a
// passing error.
func (b *Backend) Heal() {
	s := b.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.faults.cut == nil {
		return
	}
	close(b.faults.cut)
	b.faults.cut = nil
	for _, rec := range b.mine {
		if rec.standing && rec.token == 0 {
			rec.disarm()
		}
	}
}

// Fail makes the next n calls of the session fail with err, before they reach the store. It replaces what
// was ordered by an earlier Fail; 0 ends it. A nil err stands for some passing error.
func (b *Backend) Fail(n int, err error) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.faults.failing = n
	b.faults.failure = cmp.Or(err, errOrdered)
}

// Hang makes the next n calls of the session hang until their context ends, and not reach the store. It
// comes after what Fail has ordered, and replaces what was ordered by an earlier Hang; 0 ends it.
func (b *Backend) Hang(n int) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.faults.hanging = n
}

// Lose makes the next n calls of the session lose their answer: they take effect in the store, and then
// hang until their context ends. It comes after what Fail and Hang have ordered, and replaces what was
// ordered by an earlier Lose; 0 ends it.
func (b *Backend) Lose(n int) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.faults.losing = n
}

// call makes one call to the store: effect runs under the store's mutex, unless an error is returned
// because of which it did not, or because of which its outcome would not be known. closed is nil for
// the calls that Close does not end.
func (b *Backend) call(ctx context.Context, closed <-chan struct{}, effect func(now time.Time)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s := b.store
	s.calls.Add(1)
	if err := b.admit(ctx, closed); err != nil {
		return err
	}
	effect(time.Now())
	lost := b.faults.losing > 0
	if lost {
		b.faults.losing--
	}
	s.mu.Unlock()
	if lost {
		return until(ctx, closed, nil)
	}
	return nil
}

// admit lets a call through to the store, or returns the error that it ends with before. It returns with
// the store's mutex locked if the error is nil: no fault can then be ordered between it and the effect.
func (b *Backend) admit(ctx context.Context, closed <-chan struct{}) error {
	s := b.store
	s.mu.Lock()
	for b.faults.cut != nil {
		healed := b.faults.cut
		s.mu.Unlock()
		if err := until(ctx, closed, healed); err != nil {
			return err
		}
		s.mu.Lock()
	}
	switch {
	case closed != nil && b.ended:
		s.mu.Unlock()
		return backend.ErrClosed
	case b.faults.failing > 0:
		defer s.mu.Unlock()
		b.faults.failing--
		return b.faults.failure
	case b.faults.hanging > 0:
		b.faults.hanging--
		s.mu.Unlock()
		return until(ctx, closed, nil)
	default:
		return nil
	}
}

// callAsHolder is a call that has effect only while rec holds its key, and is ErrLost otherwise.
func (b *Backend) callAsHolder(ctx context.Context, rec *record, effect func(now time.Time)) error {
	holds := false
	err := b.call(ctx, nil, func(now time.Time) {
		if holds = b.store.holds(rec, now); holds {
			effect(now)
		}
	})
	if err == nil && !holds {
		err = backend.ErrLost
	}
	return err
}

// hear waits while the session is cut, so that news do not reach it.
func (b *Backend) hear(ctx context.Context) error {
	for {
		b.store.mu.Lock()
		healed := b.faults.cut
		b.store.mu.Unlock()
		if healed == nil {
			return nil
		}
		if err := until(ctx, b.closed, healed); err != nil {
			return err
		}
	}
}

// until waits for ready, or returns what ended the wait.
func until(ctx context.Context, closed, ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-closed:
		return backend.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}
