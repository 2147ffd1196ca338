package etcd_test

import (
	"context"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/internal/faults"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

func TestMain(m *testing.M) {
	if servers.Role() == faults.Role {
		os.Exit(faults.Candidate(openProcess))
	}
	goleak.VerifyTestMain(m)
}

// connect makes a client of its own, closed at the end of the test, after what was registered later.
func connect(t testing.TB, endpoints []string, opts ...func(*clientv3.Config)) *clientv3.Client {
	t.Helper()
	config := clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second, Logger: zap.NewNop()}
	for _, opt := range opts {
		opt(&config)
	}
	client, err := clientv3.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// open makes a Backend on client, closed at the end of the test.
func open(t testing.TB, client *clientv3.Client, opts ...etcd.Option) *etcd.Backend {
	t.Helper()
	b, err := etcd.New(client, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

// records returns the keys below prefix, first come first, waiting until there are n of them.
func records(t testing.TB, client *clientv3.Client, prefix string, n int) []string {
	t.Helper()
	ctx := trial.Within(t)
	opts := []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend)}
	resp, err := client.Get(ctx, prefix, opts...)
	if err != nil {
		t.Fatal(err)
	}
	changes := client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(resp.Header.Revision+1))
	for len(resp.Kvs) != n {
		if _, ok := <-changes; !ok {
			t.Fatalf("%d records below %s, want %d", len(resp.Kvs), prefix, n)
		}
		if resp, err = client.Get(ctx, prefix, opts...); err != nil {
			t.Fatal(err)
		}
	}
	keys := make([]string, 0, n)
	for _, kv := range resp.Kvs {
		keys = append(keys, string(kv.Key))
	}
	return keys
}

// counter counts the requests of clients that were made with it: calls, and streams opened; and, apart,
// the watches that the server confirmed.
type counter struct {
	all, keepAlives atomic.Int64
	watches         chan struct{}       // one element for each, if not nil
	writes          chan struct{}       // one element for each transaction sent, if not nil
	mute            atomic.Bool         // events of watches are lost
	called          func(method string) // as a request is about to be made, if not nil
}

// countWatches makes a counter that tells of every watch that was confirmed.
func countWatches() *counter { return &counter{watches: make(chan struct{}, 1024)} }

// watched waits for n more watches.
func (c *counter) watched(t testing.TB, n int) {
	t.Helper()
	for range n {
		trial.Receive(t, "a watch", c.watches)
	}
}

type watchStream struct {
	grpc.ClientStream
	created chan<- struct{}
	mute    *atomic.Bool
}

func (s *watchStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if resp, ok := m.(*etcdserverpb.WatchResponse); ok && err == nil && resp.Created {
		s.created <- struct{}{}
	} else if ok && err == nil && s.mute.Load() {
		resp.Events = nil
	}
	return err
}

func (c *counter) count(config *clientv3.Config) {
	note := func(method string) {
		c.all.Add(1)
		if c.called != nil {
			c.called(method)
		}
		switch {
		case method == "/etcdserverpb.Lease/LeaseKeepAlive":
			c.keepAlives.Add(1)
		case method == "/etcdserverpb.KV/Txn" && c.writes != nil:
			c.writes <- struct{}{}
		}
	}
	config.DialOptions = append(config.DialOptions,
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			note(method)
			return invoker(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			note(method)
			stream, err := streamer(ctx, desc, cc, method, opts...)
			if err != nil || c.watches == nil {
				return stream, err
			}
			return &watchStream{stream, c.watches, &c.mute}, nil
		}))
}

// revoke ends the lease that the record path is attached to, as an operator would.
func revoke(t testing.TB, client *clientv3.Client, path string) {
	t.Helper()
	ctx := trial.Within(t)
	resp, err := client.Get(ctx, path)
	if err != nil || len(resp.Kvs) != 1 {
		t.Fatalf("the record %s: %v, error %v", path, resp, err)
	}
	if _, err := client.Revoke(ctx, clientv3.LeaseID(resp.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
}

// remove deletes the record path, as an operator would.
func remove(t testing.TB, client *clientv3.Client, path string) {
	t.Helper()
	resp, err := client.Delete(trial.Within(t), path)
	if err != nil || resp.Deleted != 1 {
		t.Fatalf("deleting %s: %v, error %v", path, resp, err)
	}
}

// operatorGet returns the value of the record path, or "" if there is none.
func operatorGet(t testing.TB, client *clientv3.Client, path string) string {
	t.Helper()
	resp, err := client.Get(trial.Within(t), path)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Value)
}
