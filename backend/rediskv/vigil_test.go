package rediskv_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/rediskv"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// watch observes key until the test ends, and hands on who leads.
func watch(t testing.TB, b *rediskv.Backend, key string) <-chan backend.Leader {
	t.Helper()
	leaders := make(chan backend.Leader, 100)
	stop := b.TellLeaders(t.Context(), key, func(l backend.Leader, err error) {
		if err != nil {
			t.Errorf("observing: %v", err)
		}
		leaders <- l
	})
	t.Cleanup(stop)
	return leaders
}

// holding is a client's hook that keeps the answers to one command from who asked, while it is told to; or keeps the
// command from being sent.
type holding struct {
	command  string
	unsent   bool
	on       atomic.Bool
	answered chan struct{} // has an element for each that is held
	release  chan struct{} // takes one for each
}

func newHolding(command string) *holding {
	return &holding{command: command, answered: make(chan struct{}), release: make(chan struct{})}
}

func (h *holding) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.hold(cmd, true)
		err := next(ctx, cmd)
		h.hold(cmd, false)
		return err
	}
}

func (h *holding) hold(cmd redis.Cmder, unsent bool) {
	if h.on.Load() && h.unsent == unsent && cmd.Name() == h.command {
		h.answered <- struct{}{}
		<-h.release
	}
}

func (h *holding) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *holding) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.hold(cmds[0], true)
		err := next(ctx, cmds)
		h.hold(cmds[0], false)
		return err
	}
}

// An election that leads, and is observed, costs no goroutine that waits for news.
func TestNoGoroutineWaitsForNews(t *testing.T) {
	b := open(t, connect(t, servers.StartRedis(t).Endpoint()), rediskv.WithTTL(long))
	const n = 100
	leases := winAll(t, b, "light", n)
	before := runtime.NumGoroutine()
	leaders := make(chan backend.Leader, n)
	for i, l := range leases {
		t.Cleanup(l.(backend.LossTeller).TellLoss(t.Context(), func(err error) { t.Errorf("told of a loss: %v", err) }))
		t.Cleanup(b.TellLeaders(t.Context(), fmt.Sprintf("light/%d", i), func(l backend.Leader, err error) {
			if err != nil {
				t.Errorf("observing: %v", err)
			}
			leaders <- l
		}))
	}
	for range n {
		trial.Receive(t, "a leader", leaders)
	}
	servers.Await(t, "all to rest", func(context.Context) error {
		if extra := runtime.NumGoroutine() - before; extra > n/4 {
			return fmt.Errorf("%d goroutines more for %d elections", extra, n)
		}
		return nil
	})
}

// Who asks for news of a key that is listened to already has them at once.
func TestTwoListenToOneKey(t *testing.T) {
	t.Parallel()
	b := open(t, connect(t, servers.StartRedis(t).Endpoint()), rediskv.WithTTL(long)) // requests are bounded by 5 s
	trial.Win(t, b, "two", "x")
	for range 2 {
		began := time.Now()
		trial.Receive(t, "the leader", watch(t, b, "two"))
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
	}
}

// A stop waits for no answer, and what it breaks off is not told.
func TestStopDuringALook(t *testing.T) {
	t.Parallel()
	client := connect(t, servers.StartRedis(t).Endpoint())
	h := newHolding("hmget")
	client.AddHook(h)
	l := trial.Win(t, open(t, client, rediskv.WithTTL(long)), "stopped", "x")
	h.on.Store(true)
	stop := l.(backend.LossTeller).TellLoss(t.Context(), func(err error) { t.Errorf("told %v", err) })
	trial.Receive(t, "the answer", h.answered)
	began := time.Now()
	stop()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	h.release <- struct{}{}
}

// deafConn is a connection on which nothing is heard from the first subscription on.
type deafConn struct {
	net.Conn
	deaf atomic.Bool
}

func (c *deafConn) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("subscribe")) {
		c.deaf.Store(true)
	}
	return c.Conn.Write(p)
}

func (c *deafConn) Read(p []byte) (n int, err error) {
	for n, err = c.Conn.Read(p); err == nil && c.deaf.Load(); {
		n, err = c.Conn.Read(p)
	}
	return n, err
}

// A subscription that is not confirmed ends what needs it, within the bound of a request.
func TestSubscriptionThatIsNotConfirmed(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	client := connect(t, server.Endpoint(), func(o *redis.Options) {
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return &deafConn{Conn: conn}, err
		}
	})
	b := open(t, client, rediskv.WithTTL(9*time.Second)) // requests are bounded by 3 s
	lease := trial.Win(t, b, "unconfirmed", "x")
	trial.Win(t, open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long)), "unconfirmed/taken", "x")
	lost, observed := make(chan error, 1), make(chan error, 1)
	defer lease.(backend.LossTeller).TellLoss(t.Context(), func(err error) { lost <- err })()
	defer b.TellLeaders(t.Context(), "unconfirmed", func(_ backend.Leader, err error) { observed <- err })()
	waiting := trial.Campaign(t, t.Context(), b, "unconfirmed/taken", "y")
	for what, err := range map[string]error{
		"what is told of the lease": trial.Receive(t, "the end", lost), "what is told of leaders": trial.Receive(t, "the end", observed),
		"Campaign": trial.Receive(t, "the campaign", waiting).Err,
	} {
		trial.MustPass(t, what, err)
		if err == nil || !strings.Contains(err.Error(), "subscription") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Close may come at any moment while something begins to be told.
func TestCloseWhileTellingBegins(t *testing.T) {
	t.Parallel()
	client := connect(t, nowhere)
	for range 5000 {
		b := open(t, client, rediskv.WithTTL(long))
		var closing sync.WaitGroup
		closing.Go(func() {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
		told := make(chan error, 1)
		stop := b.TellLeaders(t.Context(), "closing", func(_ backend.Leader, err error) { told <- err })
		closing.Wait()
		if err := trial.Receive(t, "the end", told); err == nil { // ErrClosed, or that nobody listens there
			t.Error("told of no error")
		}
		stop()
	}
}
