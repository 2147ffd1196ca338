package rediskv_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/rediskv"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// An operator who deletes a record without telling is found out: by the leader when it renews, by
// who waits when it looks.
func TestDeletedInSilence(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	const ttl = 4 * time.Second
	a, b := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(ttl)), open(t, connect(t, server.Endpoint()), rediskv.WithTTL(ttl))
	l := trial.Win(t, a, "silent", "a")
	waiting := trial.Campaign(t, t.Context(), b, "silent", "b")
	listeners(t, connect(t, server.Endpoint()), "silent", 1)
	server.Cli("del", "{silent}:lease")
	began := time.Now()
	if _, err := l.Renew(trial.Within(t)); !errors.Is(err, backend.ErrLost) {
		t.Errorf("Renew: %v", err)
	}
	won := trial.Receive(t, "the waiting campaign", waiting)
	if won.Err != nil || won.Lease.Token() <= l.Token() {
		t.Errorf("%v", won)
	}
	if took := time.Since(began); took > 2*ttl {
		t.Errorf("it took %v", took)
	}
}

// Listeners come and go on one connection, and each hears what it asked for.
func TestOneConnectionForEvents(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	operator := connect(t, server.Endpoint())
	b := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long))
	other := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long))
	const keys = 20
	var guards [keys]backend.Lease
	var waiting [keys]<-chan trial.Outcome
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range keys {
		key := fmt.Sprintf("line/%d", i)
		guards[i] = trial.Win(t, other, key, "guard")
		waiting[i] = trial.Campaign(t, ctx, b, key, "x")
	}
	for i := range keys {
		listeners(t, operator, fmt.Sprintf("line/%d", i), 1)
	}
	if n := len(strings.Split(server.Cli("client", "list", "type", "pubsub"), "\n")); n != 1 {
		t.Errorf("%d connections for events, want 1", n)
	}
	for i := range keys / 2 {
		if err := guards[i].Resign(trial.Within(t)); err != nil {
			t.Fatal(err)
		}
		if o := trial.Receive(t, "the win", waiting[i]); o.Err != nil {
			t.Fatal(o.Err)
		}
		listeners(t, operator, fmt.Sprintf("line/%d", i), 0)
	}
	cancel()
	for i := keys / 2; i < keys; i++ {
		trial.MustBe(t, "a cancelled Campaign", trial.Receive(t, "the end", waiting[i]).Err, context.Canceled)
	}
	servers.Await(t, "the connection to end", func(context.Context) error {
		if list := server.Cli("client", "list", "type", "pubsub"); list != "" {
			return errors.New(list)
		}
		return nil
	})
}

// gate is a client's dialer which keeps subscriptions, and their ends, from being sent while it is locked.
type gate struct{ sync.RWMutex }

func (g *gate) guard(o *redis.Options) {
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &gated{conn, g}, err
	}
}

type gated struct {
	net.Conn
	g *gate
}

func (c *gated) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("subscribe")) {
		c.g.RLock()
		defer c.g.RUnlock()
	}
	return c.Conn.Write(p)
}

// Many who begin or end to listen at once do so with few commands; and if one may not listen, that is nothing to the others.
func TestManyListenAtOnce(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	operator := connect(t, server.Endpoint())
	const n = 200
	key := func(i int) string { return fmt.Sprintf("line/%d", i) }
	var g gate
	listen := func(b *rediskv.Backend, check func(i int, err error)) (stop func()) {
		var stopping []func()
		told := make([]chan error, n)
		g.Lock()
		for i := range n {
			told[i] = make(chan error, 2)
			stopping = append(stopping, b.TellLeaders(t.Context(), key(i), func(_ backend.Leader, err error) { told[i] <- err }))
		}
		g.Unlock() // so that they are at once on a machine that is slow, too
		for i := range n {
			check(i, trial.Receive(t, "who leads", told[i]))
		}
		return func() {
			var all sync.WaitGroup
			g.Lock()
			for _, stop := range stopping {
				all.Go(stop)
			}
			all.Wait()
			g.Unlock()
			servers.Await(t, "no channels", func(ctx context.Context) error {
				if channels := operator.PubSubChannels(ctx, "*").Val(); len(channels) > 1 {
					return fmt.Errorf("%d channels", len(channels))
				}
				return nil
			})
		}
	}
	free := open(t, connect(t, server.Endpoint(), g.guard), rediskv.WithTTL(long))
	defer free.TellLeaders(t.Context(), "line", func(backend.Leader, error) {})() // which keeps the connection
	listen(free, func(i int, err error) {
		if err != nil {
			t.Errorf("TellLeaders of %s: %v", key(i), err)
		}
	})()
	stats := server.Cli("info", "commandstats")
	for _, name := range []string{"subscribe", "unsubscribe"} {
		var calls int
		_, stat, _ := strings.Cut(stats, "cmdstat_"+name+":")
		if _, err := fmt.Sscanf(stat, "calls=%d,", &calls); err != nil || calls > n/2 {
			t.Errorf("%d times %s for %d channels, error %v", calls, name, n, err)
		}
	}

	user := []string{"acl", "setuser", "most", "on", ">s3cret-most", "~*", "+@all", "resetchannels"}
	for i := range n {
		if i%50 != 1 {
			user = append(user, "&{"+key(i)+"}:events")
		}
	}
	server.Cli(user...)
	listen(open(t, login(t, server, "most", "s3cret-most"), rediskv.WithTTL(long)), func(i int, err error) {
		switch {
		case i%50 == 1:
			trial.MustBe(t, "TellLeaders of "+key(i), err, backend.ErrDenied)
		case err != nil:
			t.Errorf("TellLeaders of %s: %v", key(i), err)
		}
	})()
}

// The more wait, the more they spread their tries, and the first to win spares the others theirs.
func TestNoHerd(t *testing.T) {
	server := servers.StartRedis(t, servers.RedisInMemory()) // or its disk would hold up the news
	operator := connect(t, server.Endpoint())
	const crowd = 60
	guard := trial.Win(t, open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long)), "herd", "guard")
	won := make(chan backend.Lease, crowd)
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel()
	for range crowd {
		b := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long))
		waiting.Go(func() {
			if l, err := b.Campaign(ctx, "herd", nil); err == nil {
				won <- l
			}
		})
	}
	listeners(t, operator, "herd", crowd)
	tries := func() int64 {
		var n int64
		for line := range strings.Lines(server.Cli("info", "commandstats")) {
			var calls int64
			if _, err := fmt.Sscanf(line, "cmdstat_evalsha:calls=%d,", &calls); err == nil {
				n += calls
			}
		}
		return n
	}
	servers.Await(t, "all to have looked", func(context.Context) error {
		before := tries()
		<-time.After(200 * time.Millisecond)
		if tries() != before {
			return errors.New("they still look")
		}
		return nil
	})
	// On a machine that is busy with other things the news of the win may come late; but not each time.
	for waits := crowd; waits > crowd-10; waits-- {
		before := tries()
		if err := guard.Resign(trial.Within(t)); err != nil {
			t.Fatal(err)
		}
		guard = trial.Receive(t, "the winner", won)
		<-time.After(2 * 50 * time.Millisecond) // the longest spread, twice
		n := tries() - before - 1
		t.Logf("%d tries of %d candidates for one release", n, waits)
		if n <= int64(waits)/2 {
			return
		}
	}
	t.Error("most candidates tried, each time")
}

// A key that nobody leads is looked at once in a TTL, as Redis tells when somebody does.
func TestVacancyIsNotPolled(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	var calls counter
	b := open(t, connect(t, server.Endpoint(), calls.count), rediskv.WithTTL(long))
	leaders := watch(t, b, "vacant")
	if got := trial.Receive(t, "vacancy", leaders); !got.Vacant() {
		t.Errorf("observed %v", got)
	}
	before := calls.sent.Load()
	<-time.After(500 * time.Millisecond)
	if n := calls.sent.Load() - before; n > 1 {
		t.Errorf("%d requests of one that observes a vacant key", n)
	}
	l := trial.Win(t, open(t, connect(t, server.Endpoint())), "vacant", "x")
	if got := trial.Receive(t, "the leader", leaders); got.Token != l.Token() {
		t.Errorf("observed %v", got)
	}
}

// What comes from the network is a hint: any payload only makes who listens look.
func TestEventsAreHints(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	operator := connect(t, server.Endpoint())
	b := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long))
	guard := trial.Win(t, open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long)), "hints", "guard")
	waiting := trial.Campaign(t, t.Context(), b, "hints", "x")
	listeners(t, connect(t, server.Endpoint()), "hints", 1)
	waited := make(chan error, 1)
	go func() { waited <- guard.Wait(trial.Within(t)) }()
	listeners(t, connect(t, server.Endpoint()), "hints", 2)
	for _, payload := range []string{
		"", " ", "released", "released -1", "released 99999999999999999999", "won", "won x y", "won 1 -1", "won 999 1", "value", "value 7",
		"\x00\xff", strings.Repeat("released ", 1000), "deposed", "released 2",
	} {
		if err := operator.Publish(trial.Within(t), "{hints}:events", payload).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := guard.Renew(trial.Within(t)); err != nil {
		t.Error(err)
	}
	select {
	case o := <-waiting:
		t.Errorf("the waiting campaign ended: %v", o)
	case err := <-waited:
		t.Errorf("Wait ended: %v", err)
	default:
	}
	if err := guard.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	if o := trial.Receive(t, "the win", waiting); o.Err != nil {
		t.Error(o.Err)
	}
	trial.MustBe(t, "Wait", trial.Receive(t, "Wait", waited), backend.ErrLost)
}

// A release that is told while a candidate looks is not overlooked for what the look says, which came before it.
func TestToldDuringALook(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	guard := trial.Win(t, open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long)), "looking", "guard")
	client := connect(t, server.Endpoint())
	h := newHolding("evalsha")
	client.AddHook(h)
	b := open(t, client, rediskv.WithTTL(long))
	leaders := watch(t, b, "looking")
	trial.Receive(t, "the leader", leaders)
	h.on.Store(true)
	waiting := trial.Campaign(t, t.Context(), b, "looking", "x")
	trial.Receive(t, "the answer to the first try", h.answered)
	h.release <- struct{}{}
	trial.Receive(t, "the answer to the look", h.answered)
	h.on.Store(false)
	if err := guard.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	if got := trial.Receive(t, "vacancy", leaders); !got.Vacant() { // then all who listen on b have heard
		t.Errorf("observed %v", got)
	}
	h.release <- struct{}{}
	if o := trial.Receive(t, "the win", waiting); o.Err != nil {
		t.Error(o.Err)
	}
}
