package zookeeper_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/zookeeper"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
	"github.com/hustings-go/hustings/retry"
)

// standAsCurator creates a candidate's node as Curator's LeaderLatch does: its id begins with a UUID, and
// the data are the participant's id.
func standAsCurator(t *testing.T, conn *zk.Conn, path, id string) string {
	t.Helper()
	node, err := conn.Create(path+"/_c_6f0b1f0e-3f42-4a5b-8d3c-1b2a3c4d5e6f-latch-", []byte(id), zk.FlagEphemeralSequential, zk.WorldACL(zk.PermAll))
	if err != nil {
		t.Fatal(err)
	}
	return node
}

func TestAnElectionIsSharedWithCuratorsLayout(t *testing.T) {
	server := servers.StartZooKeeper(t)
	curator := connect(t, server.Endpoint())
	b := open(t, []string{server.Endpoint()}, zookeeper.WithRoot("/"))
	other := open(t, []string{server.Endpoint()}, zookeeper.WithRoot("/"))
	const key = "service/leader"
	first := win(t, b, key, "first")
	node := standAsCurator(t, curator, "/"+key, "participant")
	behind := campaign(t, t.Context(), other, key, "behind")
	servers.Await(t, "three in the queue", queueOf(curator, "/", key, 3))
	if err := first.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	_, stat, err := curator.Exists(node)
	if err != nil {
		t.Fatal(err)
	}
	for l, err := range b.Observe(trial.Within(t), key) {
		if err != nil {
			t.Fatal(err)
		}
		if string(l.Value) == "participant" && l.Token == uint64(stat.Czxid) {
			break
		}
	}
	select {
	case got := <-behind:
		t.Fatalf("%v, error %v: won while Curator's candidate leads", got.lease, got.err)
	default:
	}
	if err := curator.Delete(node, -1); err != nil {
		t.Fatal(err)
	}
	next := trial.Receive(t, "the next win", behind)
	if next.err != nil || next.lease.Token() <= uint64(stat.Czxid) {
		t.Errorf("%v, error %v", next.lease, next.err)
	}
	names, _, err := curator.Children("/" + key)
	if err != nil || len(names) != 1 || !strings.HasPrefix(names[0], "_c_") || strings.LastIndex(names[0], "latch-") != len(names[0])-len("latch-")-10 {
		t.Errorf("the candidates are %q, error %v", names, err)
	}
	data, stat, err := curator.Get("/" + key + "/" + names[0])
	if err != nil || string(data) != "behind" || uint64(stat.Czxid) != next.lease.Token() {
		t.Errorf("the leader's node holds %q and was created by %d, error %v", data, stat.Czxid, err)
	}
}

func TestStrangersBelowTheKeyDoNotCount(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	b := open(t, []string{server.Endpoint()})
	for _, path := range []string{"/hustings/a/b", "/hustings/a/_c_x-lock-0000000000", "/hustings/a/latch-1"} {
		stay(t, operator, path)
	}
	win(t, b, "a", "ours")
	win(t, b, "a/b", "ours too")

	_, err := b.Campaign(trial.Within(t), "a/_c_x-latch-0000000000", nil)
	if !retry.IsPermanent(err) {
		t.Errorf("a key that looks like a candidate: %v", err)
	}
	for _, err := range b.Observe(trial.Within(t), "a/latch-0000000000/b") {
		if !retry.IsPermanent(err) {
			t.Errorf("Observe of a key that looks like a candidate: %v", err)
		}
	}
}

func TestSequenceNumbersThatRanOverElectNobody(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	b := open(t, []string{server.Endpoint()})
	other := open(t, []string{server.Endpoint()})
	l := win(t, b, "over", "leader")
	if _, err := operator.Create("/hustings/over/_c_x-latch--2147483648", nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Campaign(trial.Within(t), "over", nil); !retry.IsPermanent(err) {
		t.Errorf("Campaign: %v", err)
	}
	for _, err := range other.Observe(trial.Within(t), "over") {
		if !retry.IsPermanent(err) {
			t.Errorf("Observe: %v", err)
		}
	}
	if _, err := l.Renew(trial.Within(t)); err != nil {
		t.Errorf("the leader who was there before: %v", err)
	}
	queued(t, operator, "over", 2)
}

// Renewals must not wake those who watch the leader's node: the next in the queue, observers, Curator.
func TestARenewalWakesNobodyAndAValueDoes(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	l := win(t, open(t, []string{server.Endpoint()}), "quiet", "first")
	node := queued(t, operator, "quiet", 1)[0]
	_, _, changes, err := operator.GetW(node)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := l.Renew(trial.Within(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Proclaim(trial.Within(t), []byte("second")); err != nil {
		t.Fatal(err)
	}
	trial.Receive(t, "the change of the value", changes)
	if _, stat, err := operator.Get(node); err != nil || stat.Version != 1 {
		t.Errorf("the node was written %d times, want once, error %v", stat.Version, err)
	}
}

func TestTokensGrowThoughSequenceNumbersBeginAnew(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	b := open(t, []string{server.Endpoint()})
	var last backend.Lease
	for range 3 {
		l := win(t, b, "anew", "value")
		if node := queued(t, operator, "anew", 1)[0]; !strings.HasSuffix(node, "-0000000000") {
			t.Errorf("the node is %s, its number should begin anew", node)
		}
		if last != nil && l.Token() <= last.Token() {
			t.Errorf("token %d after %d", l.Token(), last.Token())
		}
		if err := l.Resign(trial.Within(t)); err != nil {
			t.Fatal(err)
		}
		if err := operator.Delete("/hustings/anew", -1); err != nil && !errors.Is(err, zk.ErrNoNode) {
			t.Fatal(err)
		}
		last = l
	}
}

func TestTheNodesAboveVanishAfterTheLastCandidate(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	if err := win(t, open(t, []string{server.Endpoint()}), "deep/down/below", "value").Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	servers.Await(t, "the root to vanish", gone(operator, zookeeper.DefaultRoot))
}

// The candidate right behind the leader takes over without any request. One further back
// looks at the queue when somebody before it leaves, and goes on waiting.
func TestAHandoverIsNoRequest(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	const key = "handover"
	leader := win(t, open(t, []string{server.Endpoint()}), key, "leader")
	ctx, withdraw := context.WithCancel(t.Context())
	defer withdraw()
	between := campaign(t, ctx, open(t, []string{server.Endpoint()}), key, "between")
	queued(t, operator, key, 2)

	tap := &wiretap{watches: make(chan struct{}, 16)}
	var mu sync.Mutex
	var ops []int32
	tap.before = func(op int32) {
		mu.Lock()
		defer mu.Unlock()
		if op != opPing {
			ops = append(ops, op)
		}
	}
	asked := func() []int32 {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(ops)
	}
	waiting := campaign(t, t.Context(), open(t, []string{server.Endpoint()}, zookeeper.WithTTL(time.Minute), zookeeper.WithDialer(tap.dial)), key, "waiting")
	for range 3 { // of the two before its own, and of its own
		trial.Receive(t, "a watch", tap.watches)
	}
	before := len(asked())
	withdraw()
	trial.MustBe(t, "who withdraws", trial.Receive(t, "the withdrawal", between).err, context.Canceled)
	looks := []int32{opChildren} // the leader and its own node are watched already
	servers.Await(t, "a look at the queue", func(context.Context) error {
		if got := asked()[before:]; !slices.Equal(got, looks) {
			return fmt.Errorf("operations %v, want %v", got, looks)
		}
		return nil
	})
	before = len(asked())
	if err := leader.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	if o := trial.Receive(t, "the next win", waiting); o.err != nil {
		t.Fatal(o.err)
	}
	if got := asked()[before:]; len(got) > 0 {
		t.Errorf("operations %v from the release to the win, want none", got)
	}
}

// A look at the queue that fails is an error, and never an empty queue.
func TestALookThatFailsWinsNothing(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	const key = "looks"
	leader := win(t, open(t, []string{server.Endpoint()}), key, "leader")
	ctx, withdraw := context.WithCancel(t.Context())
	defer withdraw()
	campaign(t, ctx, open(t, []string{server.Endpoint()}), key, "between")
	queued(t, operator, key, 2)
	tap := &wiretap{watches: make(chan struct{}, 16)}
	var armed atomic.Bool
	tap.before = func(op int32) {
		if op == opChildren && armed.CompareAndSwap(true, false) {
			tap.drop()
		}
	}
	waiting := campaign(t, t.Context(), open(t, []string{server.Endpoint()}, zookeeper.WithDialer(tap.dial)), key, "waiting")
	for range 3 {
		trial.Receive(t, "a watch", tap.watches)
	}
	armed.Store(true)
	withdraw()
	o := trial.Receive(t, "the end of the candidacy", waiting)
	trial.MustPass(t, "Campaign whose look was cut off", o.err)
	if _, err := leader.Renew(trial.Within(t)); err != nil {
		t.Errorf("the leader: %v", err)
	}
}
