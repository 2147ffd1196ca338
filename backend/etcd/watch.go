package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// watch opens a watch that lives as long as ctx and until stop. The member that serves it must know a
// leader, so that one cut off from the others ends the watch instead of falling silent. Opening is
// bounded like any request: the client waits for the server's answer to it.
func (b *Backend) watch(ctx context.Context, key string, opts ...clientv3.OpOption) (clientv3.WatchChan, context.CancelFunc, error) {
	watching, stop := context.WithCancel(ctx)
	overdue := time.AfterFunc(b.bound, stop)
	ch := b.client.Watch(clientv3.WithRequireLeader(watching), key, opts...)
	if !overdue.Stop() && ctx.Err() == nil {
		return nil, nil, fmt.Errorf("%w to a watch within %v", errNoAnswer, b.bound)
	}
	return ch, stop, nil
}

// watched sorts what a watch delivered: an error, or that the store must be read again because the
// revisions in between were compacted.
func watched(ctx context.Context, resp clientv3.WatchResponse, ok bool) (again bool, _ error) {
	switch err := resp.Err(); {
	case ctx.Err() != nil:
		return false, ended(ctx)
	case !ok:
		return false, errors.New("the watch ended")
	case errors.Is(err, rpctypes.ErrCompacted):
		return true, nil
	default:
		return false, err
	}
}

// deleted reports whether resp, of a watch of a single record, says that the record was deleted.
func deleted(resp clientv3.WatchResponse) bool {
	for _, ev := range resp.Events {
		if ev.Type == mvccpb.Event_DELETE {
			return true
		}
	}
	return false
}

// untilLook returns the time until the next look in case that a watch fell silent: one per TTL, and the same
// moment for all who wait or observe, so that their looks are one request.
func (b *Backend) untilLook() time.Duration { return b.ttl - time.Since(b.born)%b.ttl }
