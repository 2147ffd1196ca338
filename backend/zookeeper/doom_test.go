package zookeeper_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/zookeeper"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// A session whose leftover cannot be removed is given up, and with it the terms on it: but not before what they were granted is over.
func TestASessionIsNotGivenUpUnderAGrant(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	b := open(t, []string{server.Endpoint()}, zookeeper.WithTTL(shortTTL))
	stuck, held := win(t, b, "doom/stuck", "x"), win(t, b, "doom/held", "x")
	next := campaign(t, t.Context(), open(t, []string{server.Endpoint()}), "doom/held", "next")
	queued(t, operator, "doom/held", 2)
	if _, err := operator.SetACL("/hustings/doom/stuck", zk.WorldACL(zk.PermAll&^zk.PermDelete), -1); err != nil {
		t.Fatal(err)
	}
	trial.MustBe(t, "Resign without the right to", stuck.Resign(trial.Within(t)), backend.ErrDenied)
	patient := trial.Within(t)
	for latest := held.Grant(); ; {
		if grant, err := held.Renew(trial.Within(t)); err == nil {
			latest = grant
		}
		select {
		case won := <-next:
			if won.err != nil {
				t.Fatal(won.err)
			}
			if left := latest.TTL - backend.Now().Since(latest.Sent); left > 0 {
				t.Errorf("the next leads while %v are left of what the one before was granted", left)
			}
			return
		case <-patient.Done():
			t.Fatal("the session is not given up")
		default:
		}
	}
}

// A client whose greetings arrive while their answers do not keeps its session alive by them. It stops when nothing is granted there
// any more, and no sooner.
func TestASessionWhoseGreetingsAreIgnoredEndsWithTheLastTerm(t *testing.T) {
	server := servers.StartZooKeeper(t)
	proxy := servers.StartProxy(t, server.Endpoint())
	b, greetings, _ := greeter(t, proxy)
	first, last := win(t, b, "ignored/first", "x"), win(t, b, "ignored/last", "x")
	operator := connect(t, server.Endpoint())
	record := queued(t, operator, "ignored/last", 1)[0]
	owner := ownerOf(t, operator, record)
	again := func() { greeted(t, greetings, owner) }
	brief := func(resign func(context.Context) error) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := resign(ctx); err == nil {
			t.Error("Resign that nobody answers has no error")
		}
	}

	proxy.CutDown()
	if err := last.Proclaim(trial.Within(t), []byte("y")); err == nil {
		t.Error("Proclaim that nobody answers has no error")
	}
	again()
	again() // the one before was not answered in time
	granted := last.Grant()
	brief(first.Resign)
	if left := granted.TTL - backend.Now().Since(granted.Sent); left > 0 {
		again()
	} else {
		t.Logf("this machine is too slow to see the session kept: the grant was over for %v", -left)
	}
	brief(last.Resign)
	for len(greetings) > 0 {
		<-greetings
	}
	servers.Await(t, "the end of the session", gone(operator, record))
	for len(greetings) > 0 {
		if id := <-greetings; id == owner {
			t.Error("the client greets for a session on which nothing is granted")
		}
	}
}

// Others wait on the session, and would lose their places.
func TestASessionWhoseGreetingsAreIgnoredOutlivesWhoStopsWaiting(t *testing.T) {
	server := servers.StartZooKeeper(t)
	proxy := servers.StartProxy(t, server.Endpoint())
	leading := open(t, []string{server.Endpoint()})
	win(t, leading, "waiting/one", "x")
	win(t, leading, "waiting/two", "x")
	b, greetings, tap := greeter(t, proxy)
	ctx, cancel := context.WithCancel(t.Context())
	one := campaign(t, ctx, b, "waiting/one", "y")
	campaign(t, t.Context(), b, "waiting/two", "y")
	operator := connect(t, server.Endpoint())
	queued(t, operator, "waiting/one", 2)
	owner := ownerOf(t, operator, queued(t, operator, "waiting/two", 2)[1])

	proxy.CutDown()
	tap.drop()
	greeted(t, greetings, owner)
	greeted(t, greetings, owner) // the one before was not answered in time
	cancel()
	trial.Receive(t, "the end of Campaign", one)
	for len(greetings) > 0 {
		<-greetings
	}
	greeted(t, greetings, owner)
}

// greeter opens a Backend behind a proxy that tells the session of each greeting before it is sent.
func greeter(t *testing.T, proxy *servers.Proxy) (*zookeeper.Backend, <-chan uint64, *wiretap) {
	greetings := make(chan uint64, 1000)
	tap := &wiretap{greets: func(session uint64) { greetings <- session }}
	return open(t, []string{proxy.Addr()}, zookeeper.WithTTL(6*time.Second), zookeeper.WithDialer(tap.dial)), greetings, tap
}

// greeted waits for the next greeting of a session.
func greeted(t *testing.T, greetings <-chan uint64, session uint64) {
	t.Helper()
	for trial.Receive(t, "a greeting", greetings) != session {
	}
}

// ownerOf is the session that a node goes with.
func ownerOf(t *testing.T, conn *zk.Conn, path string) uint64 {
	t.Helper()
	_, stat, err := conn.Exists(path)
	if err != nil {
		t.Fatal(err)
	}
	return uint64(stat.EphemeralOwner)
}
