package etcd

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
)

// Observe yields who leads key, and every change. See [backend.Backend] for the contract; what is etcd's
// own: it reads the first of the candidates and then watches all of them, by any client, reading again
// only when the leader's record was deleted; and once per TTL it looks whether the watch fell silent,
// together with all others of this Backend. Of changes that come faster than the loop takes them, it yields the last. It
// needs the right to read, and no session. It may be ranged over again, and by many at once.
func (b *Backend) Observe(ctx context.Context, key string) iter.Seq2[backend.Leader, error] {
	return calls.Observe(ctx, func(tell func(backend.Leader, error)) (stop func()) { return b.TellLeaders(ctx, key, tell) })
}

// TellLeaders tells what Observe yields; see [backend.LeaderTeller]. It does not block, and has a goroutine only while it
// reads.
func (b *Backend) TellLeaders(ctx context.Context, key string, tell func(backend.Leader, error)) (stop func()) {
	if err := backend.ValidateKey(key); err != nil {
		tell(backend.Leader{}, err)
		return func() {}
	}
	o := &observer{key: key, hand: tell}
	return b.keep(ctx, nil, &o.vigil, o)
}

// observer is one observation.
type observer struct {
	vigil
	key  string
	hand func(backend.Leader, error)

	began  bool
	leader leader // as told last
	newest int64  // the highest create revision told
	at     int64  // the revision up to which all was told
}

// leader is the record of who leads, without its value; the zero leader is vacancy.
type leader struct {
	path string
	mod  int64 // its latest revision
}

// turn tells what there is to tell.
func (o *observer) turn(ctx context.Context, n news) error {
	if n.anew {
		if err := o.read(ctx); err != nil {
			return err
		}
		o.watch(everything(prefix(o.key)), o.at+1)
		return nil
	}
	if err := o.apply(ctx, n.events); err != nil || !n.look {
		return err
	}
	return o.compare(ctx)
}

func (o *observer) end(err error) { o.hand(backend.Leader{}, o.b.wrap("observe", o.key, err)) }

// read tells who leads. It is linearizable.
func (o *observer) read(ctx context.Context) error {
	for limit := int64(nestedAllowance); ; limit = 0 {
		var resp *clientv3.GetResponse
		err := o.b.request(ctx, func(ctx context.Context) (err error) {
			resp, err = o.b.client.Get(ctx, prefix(o.key), clientv3.WithPrefix(), clientv3.WithLimit(limit),
				clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
			return err
		})
		if err != nil {
			return err
		}
		if kv := first(o.key, resp.Kvs); kv != nil || !resp.More {
			o.at = resp.Header.Revision
			return o.tell(kv)
		}
	}
}

// compare reads again if the store has something else than was told. It asks for keys alone, since values may be large and
// those who ask many.
func (o *observer) compare(ctx context.Context) error {
	queue, err := o.b.ask(ctx, question{read: clientv3.OpGet(prefix(o.key), clientv3.WithPrefix(), clientv3.WithLimit(nestedAllowance),
		clientv3.WithKeysOnly(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))})
	if err != nil {
		return err
	}
	kv := first(o.key, queue.found.Kvs)
	if kv.GetModRevision() != o.leader.mod || kv == nil && queue.found.More {
		return o.read(ctx)
	}
	o.at = queue.at
	return nil
}

// apply tells what events say that is not told yet.
func (o *observer) apply(ctx context.Context, events []*mvccpb.Event) (err error) {
	for _, ev := range events {
		path := string(ev.Kv.Key)
		if ev.Kv.ModRevision <= o.at || !isCandidate(o.key, path) {
			continue
		}
		leads := path == o.leader.path
		switch {
		case ev.Type == mvccpb.Event_DELETE && leads:
			err = o.read(ctx) // the store knows who was next in the queue
		case ev.Type == mvccpb.Event_PUT && (leads || o.leader == leader{}):
			err = o.tell(ev.Kv) // the leader's new value, or the first to come to a vacant key
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tell tells who leads now, unless that was said already.
func (o *observer) tell(kv *mvccpb.KeyValue) error {
	if o.began && kv.GetModRevision() == o.leader.mod {
		return nil
	}
	if kv != nil && kv.CreateRevision < o.newest {
		return fmt.Errorf("the store went back in time: token %d came after %d", kv.CreateRevision, o.newest)
	}
	o.began, o.leader = true, leader{}
	var told backend.Leader
	if kv != nil {
		o.newest, o.leader = kv.CreateRevision, leader{string(kv.Key), kv.ModRevision}
		told = backend.Leader{Value: bytes.Clone(kv.Value), Token: uint64(kv.CreateRevision)}
	}
	o.hand(told, nil)
	return nil
}
