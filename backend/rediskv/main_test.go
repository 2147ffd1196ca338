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

	"github.com/hustings-go/hustings/backend/rediskv"
	"github.com/hustings-go/hustings/internal/faults"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	if servers.Role() == faults.Role {
		os.Exit(faults.Candidate(openProcess))
	}
	goleak.VerifyTestMain(trial.Outlast{M: m})
}

// quiet keeps the client from reporting each connection that a test broke.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// long is a TTL that does not run out in a test.
const long = 60 * time.Second

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

// divertible makes a client whose connections go through proxy, and those that it opens after direct was set do not.
func divertible(t testing.TB, proxy *servers.Proxy, server *servers.Redis) (client *redis.Client, direct *atomic.Bool) {
	t.Helper()
	direct = new(atomic.Bool)
	return connect(t, proxy.Addr(), func(o *redis.Options) {
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if direct.Load() {
				addr = server.Endpoint()
			}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
	}), direct
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
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), trial.Patience)
	defer cancel()
	if n, err := client.Del(ctx, "{"+key+"}:lease").Result(); err != nil || n != 1 {
		t.Fatalf("deposing the leader of %s: %d, error %v", key, n, err)
	}
	if err := client.Publish(ctx, "{"+key+"}:events", "deposed").Err(); err != nil {
		t.Fatal(err)
	}
}
