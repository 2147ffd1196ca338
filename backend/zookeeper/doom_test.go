package zookeeper_test

import (
	"context"
	"encoding/binary"
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
	const ttl, session = 6 * time.Second, 20 // where its id is in a greeting
	server := servers.StartZooKeeper(t)
	proxy := servers.StartProxy(t, server.Endpoint())
	greetings := make(chan uint64, 1000)
	tap := &wiretap{greets: func(p []byte) { greetings <- binary.BigEndian.Uint64(p[session:]) }}
	b := open(t, []string{proxy.Addr()}, zookeeper.WithTTL(ttl), zookeeper.WithDialer(tap.dial))
	first, last := win(t, b, "ignored/first", "x"), win(t, b, "ignored/last", "x")
	operator := connect(t, server.Endpoint())
	record := queued(t, operator, "ignored/last", 1)[0]
	_, stat, err := operator.Exists(record)
	if err != nil {
		t.Fatal(err)
	}
	again := func() {
		for trial.Receive(t, "a greeting", greetings) != uint64(stat.EphemeralOwner) {
		}
	}
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
		if id := <-greetings; id == uint64(stat.EphemeralOwner) {
			t.Error("the client greets for a session on which nothing is granted")
		}
	}
}
