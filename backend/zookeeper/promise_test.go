package zookeeper_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/zookeeper"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// outbox holds each packet of a client up for a while before it is sent, and remembers when it came.
type outbox struct {
	delay time.Duration

	mu   sync.Mutex
	came []backend.Instant
	last map[int32]backend.Instant // of each operation; 0 is the greeting's
}

func (o *outbox) hold(op int32) {
	now := backend.Now()
	o.mu.Lock()
	if o.last == nil {
		o.last = make(map[int32]backend.Instant)
	}
	o.came, o.last[op] = append(o.came, now), now
	o.mu.Unlock()
	<-time.After(o.delay)
}

func (o *outbox) latest(op int32) backend.Instant {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last[op]
}

// check compares what g counts from with what was sent: its write was sent after that, and the session was heard of, at the
// earliest, by the packet before which a tick had passed since its answer.
func (o *outbox) check(t testing.TB, what string, g backend.Grant, op int32, timeout time.Duration) {
	t.Helper()
	if ahead := g.Sent.Since(o.latest(op)); ahead > 0 {
		t.Errorf("%s: it counts from %v after it was sent", what, ahead)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	heard := o.last[0] // a greeting counts at once
	for _, at := range o.came {
		if at.Since(heard) > 0 && g.Sent.Since(at) >= o.delay+servers.ZooKeeperTick {
			heard = at
		}
	}
	// What the session is promised until, against what a session that was heard of then lives until.
	if more := g.Sent.Since(heard) + g.TTL - timeout; more > 0 {
		t.Errorf("%s: it promises %v more than the session timeout since what the leader must have heard of", what, more)
	}
}

// Requests that take long do not lengthen what a write is worth: all is counted from when it was sent, the greeting, pings,
// other requests and the write itself.
func TestSlowAnswersLengthenNoGrant(t *testing.T) {
	server := servers.StartZooKeeper(t)
	const ttl = 6 * time.Second
	box := &outbox{delay: servers.ZooKeeperTick / 2}
	tap := &wiretap{before: box.hold}
	b := open(t, []string{server.Endpoint()}, zookeeper.WithTTL(ttl), zookeeper.WithDialer(tap.dial))
	l := win(t, b, "slow", "x")
	box.check(t, "a win", l.Grant(), opCreate, ttl)
	renewal := func(what string) {
		t.Helper()
		g, err := l.Renew(trial.Within(t))
		if err != nil {
			t.Fatal(err)
		}
		box.check(t, what, g, opMulti, ttl)
	}
	<-time.After(2 * servers.ZooKeeperTick)
	renewal("a renewal after other requests")
	<-time.After(2 * servers.ZooKeeperTick)
	renewal("a renewal after a renewal")
	ping := box.latest(opPing)
	servers.Await(t, "a ping", func(context.Context) error {
		if at := box.latest(opPing); at.Since(ping) <= 0 || backend.Now().Since(at) < box.delay+2*servers.ZooKeeperTick {
			return fmt.Errorf("the last one was %v ago", backend.Now().Since(at))
		}
		return nil
	})
	renewal("a renewal after a ping")
	greeting := box.latest(0)
	tap.drop()
	servers.Await(t, "a greeting", func(context.Context) error {
		if at := box.latest(0); at.Since(greeting) <= 0 || backend.Now().Since(at) < box.delay+servers.ZooKeeperTick/4 {
			return fmt.Errorf("the last one was %v ago", backend.Now().Since(at))
		}
		return nil
	})
	renewal("a renewal on a new connection")
}

// Looking for a node whose creation was not answered, a session takes no other for its own, whatever stands there.
func TestANodeThatWasNotAnsweredIsTakenForNoOther(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	const key, others, ours = "crowd", 8, 4
	leader := win(t, open(t, []string{server.Endpoint()}), key, "leader")
	for range others {
		standAsCurator(t, operator, "/hustings/"+key, "participant")
	}
	for i := range ours {
		campaign(t, t.Context(), open(t, []string{server.Endpoint()}), key, fmt.Sprint(i))
	}
	before := queued(t, operator, key, 1+others+ours)

	tap := &wiretap{}
	var armed atomic.Bool
	tap.before = func(op int32) {
		if op == opCreate && armed.Load() {
			tap.deaf.Store(true)
		}
	}
	tap.after = func(op int32) {
		if op == opCreate && armed.CompareAndSwap(true, false) {
			queued(t, operator, key, len(before)+1)
			tap.drop()
			tap.deaf.Store(false)
		}
	}
	b := open(t, []string{server.Endpoint()}, zookeeper.WithDialer(tap.dial))
	win(t, b, "other", "keeps the session")
	armed.Store(true)
	_, err := b.Campaign(trial.Within(t), key, nil)
	trial.MustPass(t, "Campaign whose creation was not answered", err)
	waiting := campaign(t, t.Context(), b, key, "again")
	after := queued(t, operator, key, len(before)+1)
	for i, node := range before {
		if after[i] != node {
			t.Fatalf("the node %s is gone, which was another's", node)
		}
	}
	select {
	case o := <-waiting:
		t.Errorf("the next candidacy ended: %v, error %v", o.lease, o.err)
	default:
	}
	if _, err := leader.Renew(trial.Within(t)); err != nil {
		t.Error(err)
	}
}

// An observer does not go back: a node with a number that ZooKeeper would not have given it may come to lead after one that was
// created later.
func TestAnObserverDoesNotGoBack(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	b := open(t, []string{server.Endpoint()})
	const key = "back"
	stay(t, operator, zookeeper.DefaultRoot+"/"+key)
	early, err := operator.Create("/hustings/"+key+"/_c_x-latch-2000000000", []byte("early"), zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	if err != nil {
		t.Fatal(err)
	}
	l := win(t, b, key, "late")
	all := told(t, open(t, []string{server.Endpoint()}), key)
	expect(t, all, "late", trial.Patience)
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	if n := trial.Receive(t, "what is told next", all); n.err == nil {
		t.Errorf("told of token %d after %d, of the node %s", n.leader.Token, l.Token(), early)
	}
}
