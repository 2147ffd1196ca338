package zookeeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
)

// Observe yields who leads key, and every change. See [backend.Backend] for the contract; what is
// ZooKeeper's own: it watches the leader's node alone, so that candidates come and go unnoticed, and lists them
// only when that is gone; where nobody stands, it watches for the first. It uses the Backend's session, and needs
// the right to read. It reads again when there is a new connection, when there is none for long, and when nothing has come for four TTLs. Of changes that
// come faster than the loop takes them it yields the last. It may be ranged over again, and by many at once.
func (b *Backend) Observe(ctx context.Context, key string) iter.Seq2[backend.Leader, error] {
	return calls.Observe(ctx, func(tell func(backend.Leader, error)) (stop func()) { return b.TellLeaders(ctx, key, tell) })
}

// TellLeaders tells what Observe yields; see [backend.LeaderTeller]. It has a goroutine only while there is something to read.
func (b *Backend) TellLeaders(ctx context.Context, key string, tell func(backend.Leader, error)) (stop func()) {
	if err := errors.Join(backend.ValidateKey(key), validateKey(key)); err != nil {
		tell(backend.Leader{}, err)
		return func() {}
	}
	o := &observer{vigil: vigil{b: b}, key: key, hand: tell}
	return o.begin(ctx, o, false)
}

// observer is one observation. Its vigil takes its turns.
type observer struct {
	vigil
	key  string
	hand func(backend.Leader, error)

	began       bool
	token, edit int64 // of the leader told last: the transactions that created its node and that wrote it; 0: vacant
	newest      int64 // the highest token told
}

func (o *observer) failed(err error) { o.hand(backend.Leader{}, o.b.wrap("observe", o.key, err)) }

// turn tells who leads. Only what it reads first need be more than the server's own word: from then on an event of this
// server's is why it reads, or nothing has changed that this server knew of. One that is cut off from its ensemble hangs up soon.
func (o *observer) turn(ctx context.Context) error {
	if o.session == nil {
		s, err := o.b.attend(ctx)
		if err != nil {
			return err
		}
		if err := o.b.sync(ctx, s); err != nil {
			return err
		}
		o.session = s
	}
	leader, err := o.read(ctx)
	if err != nil {
		return err
	}
	return o.tell(leader)
}

// read returns the leader's node, and listens for what may change it.
func (o *observer) read(ctx context.Context) (node, error) {
	b, s := o.b, o.session
	for {
		names, err := b.children(ctx, s, o.key)
		if err != nil {
			return node{}, err
		}
		candidates, err := queue(names)
		if err != nil {
			return node{}, err
		}
		if len(candidates) > 0 {
			leader, err := b.readNode(ctx, s, b.parent(o.key)+"/"+candidates[0], &o.ear)
			if err != nil || leader.stat != nil {
				return leader, err
			}
			continue // it left in between, and there is another first
		}
		names, err = b.watchChildren(ctx, s, b.parent(o.key), &o.ear)
		if err != nil {
			return node{}, err
		}
		if candidates, err = queue(names); err == nil && len(candidates) == 0 {
			return node{}, nil
		}
	}
}

// tell tells who leads now, unless that was said already.
func (o *observer) tell(leader node) error {
	stat := leader.stat
	if stat == nil {
		stat = &zk.Stat{}
	}
	if o.began && stat.Czxid == o.token && stat.Mzxid == o.edit {
		return nil
	}
	if leader.stat != nil && stat.Czxid < o.newest {
		return fmt.Errorf("the store went back in time: token %d came after %d", stat.Czxid, o.newest)
	}
	o.began, o.token, o.edit, o.newest = true, stat.Czxid, stat.Mzxid, max(o.newest, stat.Czxid)
	var told backend.Leader
	if leader.stat != nil {
		told = backend.Leader{Value: bytes.Clone(leader.value), Token: uint64(stat.Czxid)}
	}
	o.hand(told, nil)
	return nil
}
