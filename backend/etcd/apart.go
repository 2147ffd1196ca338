package etcd

import (
	"context"
	"fmt"
	"reflect"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ownWatcher is the type of the Watcher that a client is born with.
var ownWatcher = reflect.TypeOf(clientv3.NewWatchFromWatchClient(nil, nil))

// foreign reports whether the client's Watcher is not its own any more: package namespace puts another one in its place, which
// sees to the prefix of all keys, and a client within a server's process has no connection.
func (ws *watches) foreign() bool {
	return reflect.TypeOf(ws.client.Watcher) != ownWatcher || ws.client.ActiveConnection() == nil
}

// apart is a watch by the client's Watcher, whatever that is: with a goroutine of its own.
type apart struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
}

// openApart begins w.
func (ws *watches) openApart(w *watch) {
	ctx, cancel := context.WithCancelCause(clientv3.WithRequireLeader(ws.client.Ctx()))
	a := &apart{cancel: cancel, done: make(chan struct{})}
	w.apart = a
	go func() {
		defer close(a.done)
		err := ws.serveApart(ctx, a, w)
		ws.mu.Lock()
		defer ws.mu.Unlock()
		w.err = err
		w.call()
	}()
}

// serveApart takes what the Watcher hands out until it ends, and returns why.
func (ws *watches) serveApart(ctx context.Context, a *apart, w *watch) error {
	opts := []clientv3.OpOption{clientv3.WithRev(w.next)}
	if w.end != "" {
		opts = append(opts, clientv3.WithRange(w.end))
	}
	if w.removals {
		opts = append(opts, clientv3.WithFilterPut())
	}
	overdue := time.AfterFunc(ws.bound, func() { a.cancel(fmt.Errorf("%w to a watch within %v", errNoAnswer, ws.bound)) })
	changes := ws.client.Watch(ctx, w.key, opts...) // waits for the server's answer
	overdue.Stop()
	for resp := range changes {
		if resp.CancelReason != "" {
			return refusal(resp.CancelReason)
		}
		if err := resp.Err(); err != nil {
			return err
		}
		ws.mu.Lock()
		w.events = append(w.events, resp.Events...)
		w.call()
		ws.mu.Unlock()
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return errStreamEnded
}
