package zookeeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
)

// Observe yields who leads key, and every change. See [backend.Backend] for the contract; what is
// ZooKeeper's own: it watches the leader's node alone, so that candidates come and go unnoticed, and lists them
// only when that is gone; where nobody stands, it watches for the first. It uses the Backend's session, and needs
// the right to read. Once per TTL in which nothing happened it reads again, after bringing its server up to
// date, so that it does not go on with one that is cut off. It may be ranged over again, and by many at once.
func (b *Backend) Observe(ctx context.Context, key string) iter.Seq2[backend.Leader, error] {
	return func(yield func(backend.Leader, error) bool) {
		if err := errors.Join(backend.ValidateKey(key), validateKey(key)); err != nil {
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
	latest *zk.Stat // of the leader told last; nil: vacant
	newest int64    // the highest token told
}

// errLeft says that the caller left the loop.
var errLeft = errors.New("the caller left the loop")

// run yields until there is trouble, which the end of ctx and the caller's leaving are too.
func (o *observer) run(ctx context.Context) error {
	s, err := o.b.attend(ctx)
	if err != nil {
		return err
	}
	silence := time.NewTimer(o.b.ttl)
	defer silence.Stop()
	for stale := true; ; {
		if stale {
			if err := o.b.sync(ctx, s); err != nil {
				return err
			}
		}
		changes, err := o.read(ctx, s)
		if err != nil {
			return err
		}
		silence.Reset(o.b.ttl)
		select {
		case <-changes:
			stale = false // the event came from this server
		case <-silence.C:
			stale = true
		case <-s.lost:
			return errSessionLost
		case <-ctx.Done():
			return calls.Ended(ctx)
		}
	}
}

// read tells who leads, and returns a watch that fires when that may have changed.
func (o *observer) read(ctx context.Context, s *session) (<-chan zk.Event, error) {
	for {
		names, err := o.b.children(ctx, s, o.key)
		if err != nil {
			return nil, err
		}
		candidates, err := queue(names)
		if err != nil {
			return nil, err
		}
		if len(candidates) > 0 {
			leader, err := o.b.readNode(ctx, s, o.b.parent(o.key)+"/"+candidates[0])
			if err != nil {
				return nil, err
			}
			if leader.stat == nil {
				continue // it left in between, and there is another first
			}
			return leader.changes, o.tell(leader)
		}
		names, changes, err := o.b.watchChildren(ctx, s, o.b.parent(o.key))
		if err != nil {
			return nil, err
		}
		if candidates, err = queue(names); err != nil || len(candidates) > 0 {
			continue
		}
		return changes, o.tell(node{})
	}
}

// tell yields who leads now, unless that was said already.
func (o *observer) tell(leader node) error {
	if o.began && same(leader.stat, o.latest) {
		return nil
	}
	if leader.stat != nil && leader.stat.Czxid < o.newest {
		return fmt.Errorf("the store went back in time: token %d came after %d", leader.stat.Czxid, o.newest)
	}
	o.began, o.latest = true, leader.stat
	var told backend.Leader
	if leader.stat != nil {
		o.newest = leader.stat.Czxid
		told = backend.Leader{Value: bytes.Clone(leader.value), Token: uint64(leader.stat.Czxid)}
	}
	if !o.yield(told, nil) {
		return errLeft
	}
	return nil
}

// same reports whether both are of one node with one value.
func same(x, y *zk.Stat) bool {
	if x == nil || y == nil {
		return x == y
	}
	return x.Czxid == y.Czxid && x.Mzxid == y.Mzxid
}
