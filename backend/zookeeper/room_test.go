package zookeeper_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/zookeeper"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// connections is how many were made.
func (w *wiretap) connections() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.conns)
}

// The longest value is announced, seen and announced again, by sessions that had no room for it, and costs nobody the connection.
func TestLongValuesFindRoom(t *testing.T) {
	server := servers.StartZooKeeper(t)
	longest := func(letter string) []byte { return bytes.Repeat([]byte(letter), zookeeper.MaxValueLen) }
	const key = "room/value"
	taps := make([]*wiretap, 3)
	sessions := make([]*zookeeper.Backend, len(taps))
	for i := range taps {
		taps[i] = &wiretap{}
		sessions[i] = open(t, []string{server.Endpoint()}, zookeeper.WithTTL(time.Minute), zookeeper.WithDialer(taps[i].dial))
	}
	short := win(t, sessions[0], "room/short", "x")
	l := win(t, sessions[0], key, string(longest("a")))
	all := told(t, sessions[1], key)
	expect(t, all, string(longest("a")), trial.Patience)
	waiting := campaign(t, t.Context(), sessions[2], key, string(longest("c")))
	queued(t, connect(t, server.Endpoint()), key, 2)
	if err := short.Proclaim(trial.Within(t), longest("s")); err != nil {
		t.Error(err)
	}
	for _, letter := range []string{"b", "d"} {
		if err := l.Proclaim(trial.Within(t), longest(letter)); err != nil {
			t.Fatal(err)
		}
		expect(t, all, string(longest(letter)), trial.Patience)
	}
	if won, _ := handOver(t, l, waiting); won.err != nil {
		t.Fatal(won.err)
	}
	expect(t, all, string(longest("c")), trial.Patience)
	for i, tap := range taps {
		if n := tap.connections(); n != 1 {
			t.Errorf("session %d made %d connections, want 1", i, n)
		}
	}
	taps[1].drop() // on another connection there is room again
	if err := win(t, sessions[0], "room/again", string(longest("e"))).Proclaim(trial.Within(t), longest("f")); err != nil {
		t.Fatal(err)
	}
	expect(t, told(t, sessions[1], "room/again"), string(longest("f")), trial.Patience)
}

// So do the names of many candidates, Curator's too.
func TestLongQueuesFindRoom(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	const n, key = 5000, "room/queue"
	tap := &wiretap{}
	b := open(t, []string{server.Endpoint()}, zookeeper.WithTTL(time.Minute), zookeeper.WithDialer(tap.dial))
	parent := zookeeper.DefaultRoot + "/" + key
	stay(t, operator, parent)
	for from := 0; from < n; from += 1000 {
		var ops []any
		for i := from; i < from+1000; i++ {
			ops = append(ops, &zk.CreateRequest{Path: fmt.Sprintf("%s/_c_%036d-latch-", parent, i), Acl: zk.WorldACL(zk.PermAll), Flags: zk.FlagEphemeralSequential})
		}
		if _, err := operator.Multi(ops...); err != nil {
			t.Fatal(err)
		}
	}
	all := told(t, b, key)
	if first := trial.Receive(t, "the leader", all); first.err != nil || first.leader.Vacant() {
		t.Fatal(first)
	}
	waiting := campaign(t, t.Context(), b, key, "last")
	nodes := queued(t, operator, key, n+1)
	for _, node := range nodes[:n] {
		if err := operator.Delete(node, -1); err != nil {
			t.Fatal(err)
		}
	}
	if won := trial.Receive(t, "the win", waiting); won.err != nil {
		t.Fatal(won.err)
	}
	expect(t, all, "last", trial.Patience)
	if n := tap.connections(); n != 1 {
		t.Errorf("%d connections were made, want 1", n)
	}
}

// There is room from the beginning for the proofs of many terms with the longest keys, and for their watches on a new connection.
func TestLongKeysHaveRoom(t *testing.T) {
	server := servers.StartZooKeeper(t)
	var p proofs
	tap := &wiretap{sees: p.count}
	root := "/" + strings.Repeat("r", backend.MaxKeyLen)
	b := open(t, []string{server.Endpoint()}, zookeeper.WithRoot(root), zookeeper.WithTTL(time.Minute), zookeeper.WithDialer(tap.dial))
	leases := make([]backend.Lease, 600) // whose watches are more than a packet of 128 kB
	lost := make(chan int, len(leases))
	var all sync.WaitGroup
	for i := range leases {
		all.Go(func() {
			leases[i] = win(t, b, fmt.Sprintf("%0*d", backend.MaxKeyLen, i), "x")
			t.Cleanup(leases[i].(backend.LossTeller).TellLoss(t.Context(), func(err error) {
				if errors.Is(err, backend.ErrLost) {
					lost <- i
				}
			}))
		})
	}
	all.Wait()
	for turn := 0; turn < 5 && p.most.Load() != 100; turn++ { // more than once only where not all ask in the same moment
		if err := errors.Join(trial.RenewAll(trial.Within(t), leases)...); err != nil {
			t.Fatal(err)
		}
	}
	if p.most.Load() != 100 {
		t.Errorf("at most %d terms were proved together, so that the longest request was not seen", p.most.Load())
	}
	for range 2 {
		tap.drop()
		trial.Insist(t, "renewals", func() error { return errors.Join(trial.RenewAll(trial.Within(t), leases)...) })
	}
	operator := connect(t, server.Endpoint())
	for i := range leases {
		parent := fmt.Sprintf("%s/%0*d", root, backend.MaxKeyLen, i)
		names, _, err := operator.Children(parent)
		if err != nil || len(names) != 1 {
			t.Fatal(names, err)
		}
		if err := operator.Delete(parent+"/"+names[0], -1); err != nil {
			t.Fatal(err)
		}
	}
	for range leases {
		trial.Receive(t, "the loss of all", lost)
	}
}

// A session that sends and is sent little takes little memory.
func TestASessionIsLight(t *testing.T) {
	server := servers.StartZooKeeper(t)
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / 1e6
	}
	const n = 10
	before := heap()
	for i := range n {
		win(t, open(t, []string{server.Endpoint()}, zookeeper.WithTTL(time.Minute)), fmt.Sprintf("light/%d", i), "x")
	}
	if each := (heap() - before) / n; each > 0.6 {
		t.Errorf("%.2f MB for a session, want 0.6 at most", each)
	} else {
		t.Logf("%.2f MB for a session", each)
	}
}
