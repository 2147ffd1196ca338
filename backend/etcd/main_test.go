package etcd_test

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/internal/faults"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/retry"
)

func TestMain(m *testing.M) {
	if servers.Role() == faults.Role {
		os.Exit(faults.Candidate(openProcess))
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

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

// within returns a context for what must come.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// win campaigns for key and must get it.
func win(t testing.TB, b *etcd.Backend, key, value string) backend.Lease {
	t.Helper()
	l, err := b.Campaign(within(t), key, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// outcome is what a Campaign ended with.
type outcome struct {
	lease backend.Lease
	err   error
}

// campaign stands for key beside the test, until ctx or the test ends.
func campaign(t testing.TB, ctx context.Context, b *etcd.Backend, key, value string) <-chan outcome {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	result := make(chan outcome, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		l, err := b.Campaign(ctx, key, []byte(value))
		result <- outcome{l, err}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return result
}

// receive returns what comes from ch, and fails the test if nothing does.
func receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: nothing came within %v", what, patience)
		panic("not reached")
	}
}

// records returns the keys below prefix, first come first, waiting until there are n of them.
func records(t testing.TB, client *clientv3.Client, prefix string, n int) []string {
	t.Helper()
	ctx := within(t)
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
	watches         chan struct{} // one element for each, if not nil
	writes          chan struct{} // one element for each transaction sent, if not nil
	mute            atomic.Bool   // events of watches are lost
}

// countWatches makes a counter that tells of every watch that was confirmed.
func countWatches() *counter { return &counter{watches: make(chan struct{}, 1024)} }

// watched waits for n more watches.
func (c *counter) watched(t testing.TB, n int) {
	t.Helper()
	for range n {
		receive(t, "a watch", c.watches)
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
	ctx := within(t)
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
	resp, err := client.Delete(within(t), path)
	if err != nil || resp.Deleted != 1 {
		t.Fatalf("deleting %s: %v, error %v", path, resp, err)
	}
}

// mustPass fails the test unless err is an error that an election takes as passing, and campaigns again.
func mustPass(t testing.TB, what string, err error) {
	t.Helper()
	if err == nil || retry.IsPermanent(err) || errors.Is(err, backend.ErrDenied) || errors.Is(err, backend.ErrClosed) || errors.Is(err, backend.ErrBusy) {
		t.Errorf("%s: %v, want a passing error", what, err)
	}
}

// insist repeats do for as long as it fails in passing, as an election would; the client takes a while to
// connect again.
func insist(t testing.TB, what string, do func() error) {
	t.Helper()
	for ctx := within(t); ; {
		err := do()
		if err == nil {
			return
		}
		mustPass(t, what, err)
		if errors.Is(err, backend.ErrLost) || ctx.Err() != nil || t.Failed() {
			t.Fatalf("%s: %v", what, err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// candidate is campaign, again after every error that passes.
func candidate(t testing.TB, ctx context.Context, b *etcd.Backend, key, value string) <-chan outcome {
	t.Helper()
	result := make(chan outcome, 1)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			l, err := b.Campaign(ctx, key, []byte(value))
			if err == nil || ctx.Err() != nil || retry.IsPermanent(err) {
				result <- outcome{l, err}
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return result
}

// mustBe fails the test unless err wraps target.
func mustBe(t testing.TB, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: %v, want %v", what, err, target)
	}
}

// operatorGet returns the value of the record path, or "" if there is none.
func operatorGet(t testing.TB, client *clientv3.Client, path string) string {
	t.Helper()
	resp, err := client.Get(within(t), path)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Value)
}
