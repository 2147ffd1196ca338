package rediskv_test

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/rediskv"
	"github.com/hustings-go/hustings/internal/faults"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/retry"
)

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	if servers.Role() == faults.Role {
		os.Exit(faults.Candidate(openProcess))
	}
	goleak.VerifyTestMain(m)
}

// quiet keeps the client from reporting each connection that a test broke.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

const (
	// patience is how long a test waits for what must come.
	patience = 20 * time.Second

	// long is a TTL that does not run out in a test.
	long = 60 * time.Second
)

// connect makes a client of its own, closed at the end of the test, after what was registered later.
func connect(t testing.TB, addr string, opts ...func(*redis.Options)) *redis.Client {
	t.Helper()
	config := rediskv.Options(&redis.Options{Addr: addr, DialTimeout: 5 * time.Second})
	for _, opt := range opts {
		opt(config)
	}
	client := redis.NewClient(config)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// open makes a Backend on client, closed at the end of the test.
func open(t testing.TB, client redis.UniversalClient, opts ...rediskv.Option) *rediskv.Backend {
	t.Helper()
	b, err := rediskv.New(client, opts...)
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
func win(t testing.TB, b *rediskv.Backend, key, value string) backend.Lease {
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
func campaign(t testing.TB, ctx context.Context, b *rediskv.Backend, key, value string) <-chan outcome {
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

// listeners waits until n connections listen to the events of key.
func listeners(t testing.TB, client redis.UniversalClient, key string, n int64) {
	t.Helper()
	channel := "{" + key + "}:events"
	servers.Await(t, "listeners", func(ctx context.Context) error {
		found, err := client.PubSubNumSub(ctx, channel).Result()
		if err == nil && found[channel] != n {
			return errors.New("not as many as wanted")
		}
		return err
	})
}

// counter counts what clients that were made with it send: writes to their sockets.
type counter struct{ sent atomic.Int64 }

func (c *counter) count(o *redis.Options) {
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{Timeout: o.DialTimeout}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &countedConn{conn, c}, nil
	}
}

type countedConn struct {
	net.Conn
	c *counter
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.c.sent.Add(1)
	return c.Conn.Write(p)
}

// depose removes the leader of key as doc.go tells operators to.
func depose(t testing.TB, client redis.UniversalClient, key string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	if n, err := client.Del(ctx, "{"+key+"}:lease").Result(); err != nil || n != 1 {
		t.Fatalf("deposing the leader of %s: %d, error %v", key, n, err)
	}
	if err := client.Publish(ctx, "{"+key+"}:events", "deposed").Err(); err != nil {
		t.Fatal(err)
	}
}

// mustPass fails the test unless err is an error that an election takes as passing, and campaigns again.
func mustPass(t testing.TB, what string, err error) {
	t.Helper()
	if err == nil || retry.IsPermanent(err) || errors.Is(err, backend.ErrDenied) || errors.Is(err, backend.ErrClosed) || errors.Is(err, backend.ErrBusy) {
		t.Errorf("%s: %v, want a passing error", what, err)
	}
}

// mustBe fails the test unless err wraps target.
func mustBe(t testing.TB, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: %v, want %v", what, err, target)
	}
}
