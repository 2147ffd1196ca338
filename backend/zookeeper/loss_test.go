package zookeeper_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/zookeeper"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

func renew(t testing.TB, l backend.Lease) func() error {
	return func() error {
		_, err := l.Renew(trial.Within(t))
		return err
	}
}

// The answer to the creation of a node is lost: nobody knows that it is there, and it must not be waited behind.
func TestANodeWhoseCreationWasNotAnsweredIsRemoved(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	tap := &wiretap{}
	var armed atomic.Bool
	tap.before = func(op int32) {
		if op == opCreate && armed.Load() {
			tap.deaf.Store(true)
		}
	}
	tap.after = func(op int32) {
		if op == opCreate && armed.CompareAndSwap(true, false) {
			queued(t, operator, "unanswered", 1)
			tap.drop()
			tap.deaf.Store(false)
		}
	}
	stay(t, operator, zookeeper.DefaultRoot+"/unanswered") // or there may be nowhere to create
	b := open(t, []string{server.Endpoint()}, zookeeper.WithDialer(tap.dial))
	l := win(t, b, "unanswered", "first")
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	keeper := win(t, b, "other", "keeps the session")
	armed.Store(true)
	_, err := b.Campaign(trial.Within(t), "unanswered", nil)
	trial.MustPass(t, "Campaign whose creation was not answered", err)
	if armed.Load() {
		t.Fatal("no node was created")
	}
	next := win(t, b, "unanswered", "again")
	queued(t, operator, "unanswered", 1)
	if next.Token() <= l.Token() {
		t.Errorf("token %d after %d", next.Token(), l.Token())
	}
	trial.Insist(t, "Renew of another term on the session", renew(t, keeper))
}

func TestATermOutlivesItsConnection(t *testing.T) {
	server := servers.StartZooKeeper(t)
	tap := &wiretap{}
	b := open(t, []string{server.Endpoint()}, zookeeper.WithDialer(tap.dial))
	l := win(t, b, "outlives", "value")
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		for ctx.Err() == nil { // as an election does: it may fail with a request of its own
			if err := l.Wait(ctx); errors.Is(err, backend.ErrLost) {
				t.Errorf("Wait: %v", err)
				return
			}
		}
	}()
	for range 3 {
		tap.drop()
		trial.Insist(t, "Renew", renew(t, l))
	}
	server.Kill()
	server.Start()
	server.WaitReady()
	trial.Insist(t, "Renew after a restart of the server", renew(t, l))
	cancel()
	trial.Receive(t, "the end of Wait", waited)
}

// The client's pings keep the session alive, and other terms are renewed on it.
func TestATermThatNobodyRenewsEndsOnASessionThatLives(t *testing.T) {
	server := servers.StartZooKeeper(t)
	b := open(t, []string{server.Endpoint()}, zookeeper.WithTTL(shortTTL))
	began := time.Now()
	forgotten, kept := win(t, b, "forgotten", "value"), win(t, b, "kept", "value")
	next := campaign(t, t.Context(), open(t, []string{server.Endpoint()}), "forgotten", "next")
	for {
		trial.Insist(t, "Renew", renew(t, kept))
		select {
		case won := <-next:
			if won.err != nil || time.Since(began) < shortTTL/2 {
				t.Errorf("%v, error %v after %v", won.lease, won.err, time.Since(began))
			}
			_, err := forgotten.Renew(trial.Within(t))
			trial.MustBe(t, "Renew of a term that ran out", err, backend.ErrLost)
			return
		case <-time.After(shortTTL / 5):
			if time.Since(began) > 4*shortTTL {
				t.Fatal("a term that nobody renewed goes on")
			}
		}
	}
}

// The client by itself would make another session, and send there what waits to be sent.
func TestAClientDoesNotOutliveItsSession(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	tap := &wiretap{}
	b := open(t, []string{server.Endpoint()}, zookeeper.WithDialer(tap.dial), zookeeper.WithTTL(long))
	l := win(t, b, "outlived", "value")
	if err := revoke(t.Context(), server, operator, queued(t, operator, "outlived", 1)[0]); err != nil {
		t.Fatal(err)
	}
	servers.Await(t, "the loss", func(ctx context.Context) error {
		if err := l.Wait(ctx); !errors.Is(err, backend.ErrLost) {
			return err
		}
		return nil
	})
	if err := b.Close(); err != nil { // returns when the client has ended
		t.Fatal(err)
	}
	if n := tap.sessions.Load(); n != 1 {
		t.Errorf("the client asked for %d sessions, want 1", n)
	}
}

func TestASessionThatIsLostIsFollowedByAnother(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	b := open(t, []string{server.Endpoint()}, zookeeper.WithTTL(long))
	held := win(t, b, "held", "value")
	guard := win(t, open(t, []string{server.Endpoint()}), "waited/for", "guard")
	waiting := campaign(t, t.Context(), b, "waited/for", "value")
	queued(t, operator, "waited/for", 2)
	if err := revoke(t.Context(), server, operator, queued(t, operator, "held", 1)[0]); err != nil {
		t.Fatal(err)
	}
	trial.MustPass(t, "a waiting Campaign", trial.Receive(t, "the end of a candidacy", waiting).err)
	var err error
	servers.Await(t, "the loss", func(ctx context.Context) error {
		if _, err = held.Renew(ctx); errors.Is(err, backend.ErrLost) {
			return nil
		}
		return err
	})
	trial.MustBe(t, "Wait", held.Wait(trial.Within(t)), backend.ErrLost)
	if again := win(t, b, "held", "again"); again.Token() <= held.Token() {
		t.Errorf("token %d after %d", again.Token(), held.Token())
	}
	if err := guard.Resign(trial.Within(t)); err != nil {
		t.Error(err)
	}
}

// Callers who leave while nobody answers leave no pile of requests behind.
func TestRequestsThatWereAbandonedComeToAnEnd(t *testing.T) {
	server := servers.StartZooKeeper(t)
	const ttl = 2 * time.Second
	b := open(t, []string{server.Endpoint()}, zookeeper.WithTTL(ttl))
	l := win(t, b, "abandoned", "value")
	before := runtime.NumGoroutine()
	server.Pause()
	_, err := l.Renew(trial.Within(t))
	trial.MustPass(t, "Renew with a server that stands still", err)
	trial.MustBe(t, "Renew with a server that stands still", err, context.DeadlineExceeded)
	most := 0
	for began := time.Now(); time.Since(began) < 3*ttl; {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if _, err := l.Renew(ctx); err == nil {
			t.Error("Renew works with a server that stands still")
		}
		cancel()
		most = max(most, runtime.NumGoroutine()-before)
	}
	t.Logf("at most %d goroutines more", most)
	if most > 150 { // a bound's worth, and what waits for the next connection
		t.Errorf("%d goroutines more", most)
	}
	server.Resume()
	servers.Await(t, "the goroutines to end", func(context.Context) error {
		if n := runtime.NumGoroutine() - before; n > 20 {
			return errors.New("not yet")
		}
		return nil
	})
}
