package zookeeper_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/zookeeper"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// news is what is told of a key.
type news struct {
	leader backend.Leader
	err    error
}

// told is what b tells of key, until the end of the test.
func told(t testing.TB, b *zookeeper.Backend, key string) <-chan news {
	t.Helper()
	all := make(chan news, 100)
	t.Cleanup(b.TellLeaders(t.Context(), key, func(l backend.Leader, err error) { all <- news{l, err} }))
	return all
}

// expect waits until a leader with that value is told.
func expect(t testing.TB, all <-chan news, value string, within time.Duration) {
	t.Helper()
	for {
		switch n := trial.ReceiveWithin(t, "that "+value+" leads", all, within); {
		case n.err != nil:
			t.Fatal(n.err)
		case string(n.leader.Value) == value:
			return
		}
	}
}

// An event that never comes costs some time, and neither a key nor an observer.
func TestAWatchThatFellSilentIsNoticed(t *testing.T) {
	server := servers.StartZooKeeper(t)
	const key, ttl = "silent", 3 * time.Second
	leader := win(t, open(t, []string{server.Endpoint()}), key, "leader")
	tap := &wiretap{mute: new(atomic.Bool), watches: make(chan struct{}, 16)}
	b := open(t, []string{server.Endpoint()}, zookeeper.WithDialer(tap.dial), zookeeper.WithTTL(ttl))
	all := told(t, b, key)
	expect(t, all, "leader", trial.Patience)
	next := campaign(t, t.Context(), b, key, "next")
	for range 2 { // on the leader's node, for both, and on the candidate's own
		trial.Receive(t, "a watch", tap.watches)
	}
	tap.mute.Store(true)
	if err := leader.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	if won := trial.ReceiveWithin(t, "the next win", next, 10*ttl); won.err != nil {
		t.Fatal(won.err)
	}
	expect(t, all, "next", 10*ttl) // a long silence is four TTLs
}

// The client's own watches need not bring to light what happened before a new connection was made.
func TestANewConnectionIsReasonToLook(t *testing.T) {
	server := servers.StartZooKeeper(t)
	const key = "reconnected"
	leader := win(t, open(t, []string{server.Endpoint()}), key, "before")
	tap := &wiretap{mute: new(atomic.Bool)}
	b := open(t, []string{server.Endpoint()}, zookeeper.WithDialer(tap.dial), zookeeper.WithTTL(long))
	all := told(t, b, key)
	expect(t, all, "before", trial.Patience)
	tap.mute.Store(true)
	if err := leader.Proclaim(trial.Within(t), []byte("after")); err != nil {
		t.Fatal(err)
	}
	tap.drop()
	expect(t, all, "after", 2*long) // a long silence is four TTLs
}

// Who waits or observes is told that nobody can be reached, though they have nothing to ask.
func TestAnOutageIsTold(t *testing.T) {
	server := servers.StartZooKeeper(t)
	const key = "outage"
	win(t, open(t, []string{server.Endpoint()}), key, "leader")
	tap := &wiretap{watches: make(chan struct{}, 16)}
	b := open(t, []string{server.Endpoint()}, zookeeper.WithDialer(tap.dial), zookeeper.WithTTL(long))
	all := told(t, b, key)
	expect(t, all, "leader", trial.Patience)
	next := campaign(t, t.Context(), b, key, "next")
	for range 2 { // on the leader's node, for both, and on the candidate's own
		trial.Receive(t, "a watch", tap.watches)
	}
	tap.kill()
	n := trial.ReceiveWithin(t, "the end of an observation", all, 2*long) // a long silence is four TTLs
	trial.MustPass(t, "an observation", n.err)
	trial.MustPass(t, "a candidacy", trial.ReceiveWithin(t, "the end of a candidacy", next, 2*long).err)
}

// Nobody waits for what is told, and those who come and go listen to one watch.
func TestWhatIsToldCostsNoGoroutine(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	const n = 50
	tap := &wiretap{watches: make(chan struct{}, 100*n)}
	b := open(t, []string{server.Endpoint()}, zookeeper.WithDialer(tap.dial), zookeeper.WithTTL(long))
	leases, nodes := make([]backend.LossTeller, n), make([]string, n)
	lost := make(chan int, 2*n)
	key := func(i int) string { return fmt.Sprintf("told/%d", i) }
	for i := range leases {
		leases[i] = win(t, b, key(i), "x").(backend.LossTeller)
		nodes[i] = queued(t, operator, key(i), 1)[0]
	}
	before := runtime.NumGoroutine()
	for range 5 {
		all := make([]<-chan news, n)
		var stops []func()
		for i, l := range leases {
			stops = append(stops, l.TellLoss(t.Context(), func(err error) {
				trial.MustBe(t, "what is told", err, backend.ErrLost)
				lost <- i
			}))
			said := make(chan news, 10)
			stops = append(stops, b.TellLeaders(t.Context(), key(i), func(l backend.Leader, err error) { said <- news{l, err} }))
			all[i] = said
		}
		for _, said := range all {
			expect(t, said, "x", trial.Patience)
		}
		servers.Await(t, "all to be still", func(context.Context) error {
			if more := runtime.NumGoroutine() - before; more > 5 { // of the client, and of the test's server
				return fmt.Errorf("%d goroutines for %d keys", more, n)
			}
			return nil
		})
		for _, stop := range stops {
			stop()
		}
	}
	if set := len(tap.watches); set != n {
		t.Errorf("%d watches were set for %d nodes", set, n)
	}
	stop := leases[0].TellLoss(t.Context(), func(err error) {
		trial.MustBe(t, "what is told", err, backend.ErrLost)
		lost <- 0
	})
	defer stop()
	if err := operator.Delete(nodes[0], -1); err != nil {
		t.Fatal(err)
	}
	trial.Receive(t, "the loss", lost)
	if len(lost) != 0 {
		t.Error("others were told of it, or it was told twice")
	}
}

// The end of the session is told to all, whoever learned of it.
func TestTheEndOfASessionIsTold(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	b := open(t, []string{server.Endpoint()}, zookeeper.WithTTL(long))
	var losses []<-chan error
	for i := range 2 {
		l := win(t, b, fmt.Sprintf("session/%d", i), "x").(backend.LossTeller)
		losses = append(losses, trial.Beside(t, t.Context(), func(ctx context.Context) error {
			for ctx.Err() == nil { // as an election does: what is told may be that the connection was closed
				lost := make(chan error, 1)
				stop := l.TellLoss(ctx, func(err error) { lost <- err })
				select {
				case err := <-lost:
					stop()
					if errors.Is(err, backend.ErrLost) {
						return err
					}
				case <-ctx.Done():
					stop()
				}
			}
			return ctx.Err()
		}))
	}
	all := told(t, b, "session/0")
	expect(t, all, "x", trial.Patience)
	if err := revoke(t.Context(), server, operator, queued(t, operator, "session/0", 1)[0]); err != nil {
		t.Fatal(err)
	}
	for _, lost := range losses {
		trial.MustBe(t, "a lease", trial.Receive(t, "the loss", lost), backend.ErrLost)
	}
	for { // who observes may be told first that nobody leads
		if n := trial.Receive(t, "the end", all); n.err != nil {
			trial.MustPass(t, "an observation of a session that has ended", n.err)
			return
		}
	}
}

// A stop ends what is under way, also where nobody answers.
func TestAStopWaitsForNoServer(t *testing.T) {
	server := servers.StartZooKeeper(t)
	b := open(t, []string{server.Endpoint()}, zookeeper.WithTTL(time.Minute)) // a request may take 5 s
	l := win(t, b, "stop", "x").(backend.LossTeller)
	server.Pause()
	defer server.Resume()
	stops := []func(){
		l.TellLoss(t.Context(), func(err error) { t.Errorf("told of a loss: %v", err) }),
		b.TellLeaders(t.Context(), "stop", func(l backend.Leader, err error) { t.Errorf("told that %v leads, error %v", l, err) }),
	}
	<-time.After(servers.ZooKeeperTick) // until they ask
	began := time.Now()
	for _, stop := range stops {
		stop()
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("stopped after %v", took)
	}
}

// When stop has returned, nothing is told any more: not even by a turn that had begun to.
func TestAStopSeesTheTellingEnd(t *testing.T) {
	server := servers.StartZooKeeper(t)
	b := open(t, []string{server.Endpoint()}, zookeeper.WithTTL(long))
	began, on, stopped := make(chan struct{}), make(chan struct{}), make(chan struct{})
	stop := b.TellLeaders(t.Context(), "telling", func(backend.Leader, error) {
		close(began)
		<-on
	})
	trial.Receive(t, "the first word", began)
	go func() {
		defer close(stopped)
		stop()
	}()
	select {
	case <-stopped:
		t.Error("stopped while something was told")
	case <-time.After(servers.ZooKeeperTick):
	}
	close(on)
	trial.Receive(t, "the end of stop", stopped)
}
