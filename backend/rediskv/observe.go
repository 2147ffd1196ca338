package rediskv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
)

// Observe yields who leads key, and every change. See [backend.Backend] for the contract; what is Redis's own:
// it listens to the key's channel and reads the record when something was told, and when its lease
// would have ended, which Redis itself tells nobody. It needs the right to read and to subscribe. It may be
// ranged over again, and by many at once. A token lower than one that it has seen ends it with an
// [ErrDataLost].
func (b *Backend) Observe(ctx context.Context, key string) iter.Seq2[backend.Leader, error] {
	return func(yield func(backend.Leader, error) bool) {
		if err := backend.ValidateKey(key); err != nil {
			yield(backend.Leader{}, err)
			return
		}
		observing, leave, err := b.calls.Enter(ctx, false)
		if err == nil {
			defer leave()
			o := &observer{b: b, key: key, yield: yield}
			err = o.run(observing)
		}
		if !errors.Is(err, errLeft) && ctx.Err() == nil {
			yield(backend.Leader{}, b.wrap("observe", key, err))
		}
	}
}

// observer is one Observe under way.
type observer struct {
	b     *Backend
	key   string
	yield func(backend.Leader, error) bool

	began  bool
	leader backend.Leader // as told last
	newest uint64         // the highest token told
}

// errLeft says that the caller left the loop.
var errLeft = errors.New("the caller left the loop")

// run yields until there is trouble, which the end of ctx and the caller's leaving are too.
func (o *observer) run(ctx context.Context) error {
	ear, err := o.b.listen(ctx, o.key)
	if err != nil {
		return err
	}
	defer ear.leave()
	for {
		left, err := o.read(ctx)
		if err != nil {
			return err
		}
		if err := o.pause(ctx, ear, left); err != nil {
			return err
		}
	}
}

// pause returns nil when it is time to read again.
func (o *observer) pause(ctx context.Context, e *ear, left time.Duration) error {
	look := time.NewTimer(o.b.until(left))
	defer look.Stop()
	select {
	case <-e.news:
		e.latest()
		return nil
	case <-look.C:
		return nil
	case <-e.broken():
		return e.failure()
	case <-ctx.Done():
		return calls.Ended(ctx)
	}
}

// read tells who leads, and returns how long that lease has left; negative if there is none.
func (o *observer) read(ctx context.Context) (left time.Duration, _ error) {
	r, err := o.b.read(ctx, o.key)
	if err != nil {
		return 0, err
	}
	if err := o.b.remember(o.key, r.token, r.ttl); err != nil {
		return 0, err
	}
	if r.token != 0 && r.token < o.newest {
		return 0, fmt.Errorf("%w: token %d came after %d", ErrDataLost, r.token, o.newest)
	}
	return r.left, o.tell(r.leader())
}

// tell yields who leads now, unless that was said already.
func (o *observer) tell(l backend.Leader) error {
	if o.began && l.Token == o.leader.Token && bytes.Equal(l.Value, o.leader.Value) {
		return nil
	}
	o.began, o.leader, o.newest = true, l, max(o.newest, l.Token)
	if !o.yield(backend.Leader{Value: bytes.Clone(l.Value), Token: l.Token}, nil) {
		return errLeft
	}
	return nil
}

// read reads the record. Token and value are of one moment; how long the lease has left is of one shortly
// after, and only says when to look again.
func (b *Backend) read(ctx context.Context, key string) (record, error) {
	return ask(ctx, b, func(ctx context.Context) (record, error) {
		pipe := b.client.Pipeline()
		values := pipe.HMGet(ctx, leaseKey(key), fields()...)
		left := pipe.PTTL(ctx, leaseKey(key))
		if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
			return record{}, err
		}
		return parse(values.Val(), left.Val())
	})
}
