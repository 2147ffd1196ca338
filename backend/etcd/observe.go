package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hustings-go/hustings/backend"
)

// Observe yields who leads key, and every change. See [backend.Backend] for the contract; what is etcd's
// own: it reads the first of the candidates and then watches all of them, by any client, reading again
// only when the leader's record was deleted; and once per TTL it looks whether the watch fell silent,
// together with all others of this Backend. It needs the right to read, and no session. It may be ranged over
// again, and by many at once.
func (b *Backend) Observe(ctx context.Context, key string) iter.Seq2[backend.Leader, error] {
	return func(yield func(backend.Leader, error) bool) {
		if err := backend.ValidateKey(key); err != nil {
			yield(backend.Leader{}, err)
			return
		}
		observing, leave, err := b.enter(ctx, false)
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
	leader *mvccpb.KeyValue // as told last; nil: vacant
	newest int64            // the highest create revision told
}

// errLeft says that the caller left the loop.
var errLeft = errors.New("the caller left the loop")

// run yields until there is trouble, which the end of ctx and the caller's leaving are too.
func (o *observer) run(ctx context.Context) error {
	for {
		at, err := o.read(ctx)
		if err != nil {
			return err
		}
		if err := o.follow(ctx, at); err != nil {
			return err
		}
	}
}

// read tells who leads at the revision that it returns. The read is linearizable.
func (o *observer) read(ctx context.Context) (at int64, _ error) {
	for limit := int64(nestedAllowance); ; limit = 0 {
		var resp *clientv3.GetResponse
		err := o.b.request(ctx, func(ctx context.Context) (err error) {
			resp, err = o.b.client.Get(ctx, prefix(o.key), clientv3.WithPrefix(), clientv3.WithLimit(limit),
				clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
			return err
		})
		if err != nil {
			return 0, err
		}
		if kv := first(o.key, "", resp.Kvs); kv != nil || !resp.More {
			return resp.Header.Revision, o.tell(kv)
		}
	}
}

// follow tells every change after revision at. It returns nil when the watch must begin anew because
// revisions were compacted.
func (o *observer) follow(ctx context.Context, at int64) error {
	changes, stop, err := o.b.watch(ctx, prefix(o.key), clientv3.WithPrefix(), clientv3.WithRev(at+1))
	if err != nil {
		return err
	}
	defer stop()
	silence := time.NewTimer(o.b.untilLook())
	defer silence.Stop()
	for {
		select {
		case resp, ok := <-changes:
			if again, err := watched(ctx, resp, ok); again || err != nil {
				return err
			}
			if at, err = o.apply(ctx, at, resp.Events); err != nil {
				return err
			}
		case <-silence.C:
			if at, err = o.look(ctx); err != nil {
				return err
			}
			silence.Reset(o.b.untilLook())
		case <-ctx.Done():
			return ended(ctx)
		}
	}
}

// look reads again if the store has something else than was told, and returns the revision up to which
// all was told. It asks for keys alone, since values may be large and those who ask many.
func (o *observer) look(ctx context.Context) (at int64, _ error) {
	answer, at, err := o.b.ask(ctx, clientv3.OpGet(prefix(o.key), clientv3.WithPrefix(), clientv3.WithLimit(nestedAllowance),
		clientv3.WithKeysOnly(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend)))
	if err != nil {
		return 0, err
	}
	kv := first(o.key, "", answer[0].Kvs)
	if kv.GetModRevision() != o.leader.GetModRevision() || kv == nil && answer[0].More {
		return o.read(ctx)
	}
	return at, nil
}

// apply tells what events say that came after revision at, and returns the revision up to which all was
// told.
func (o *observer) apply(ctx context.Context, at int64, events []*clientv3.Event) (int64, error) {
	for _, ev := range events {
		path := string(ev.Kv.Key)
		if ev.Kv.ModRevision <= at || !isCandidate(o.key, path) {
			continue
		}
		leads := o.leader != nil && path == string(o.leader.Key)
		var err error
		switch {
		case ev.Type == mvccpb.Event_DELETE && leads:
			at, err = o.read(ctx) // the store knows who was next in the queue
		case ev.Type == mvccpb.Event_PUT && (leads || o.leader == nil):
			err = o.tell(ev.Kv) // the leader's new value, or the first to come to a vacant key
		}
		if err != nil {
			return at, err
		}
	}
	return at, nil
}

// tell yields who leads now, unless that was said already.
func (o *observer) tell(kv *mvccpb.KeyValue) error {
	if o.began && kv.GetModRevision() == o.leader.GetModRevision() {
		return nil
	}
	if kv != nil && kv.CreateRevision < o.newest {
		return fmt.Errorf("the store went back in time: token %d came after %d", kv.CreateRevision, o.newest)
	}
	o.began, o.leader = true, kv
	var leader backend.Leader
	if kv != nil {
		o.newest = kv.CreateRevision
		leader = backend.Leader{Value: bytes.Clone(kv.Value), Token: uint64(kv.CreateRevision)}
	}
	if !o.yield(leader, nil) {
		return errLeft
	}
	return nil
}
