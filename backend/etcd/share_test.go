package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// All elections of a Backend share the keep-alive of its session.
func TestRenewalsShareOneKeepAlive(t *testing.T) {
	server := servers.StartEtcd(t)
	var calls counter
	b := open(t, connect(t, []string{server.Endpoint()}, calls.count), etcd.WithTTL(long))
	const n = 50
	leases := make([]backend.Lease, n)
	for i := range leases {
		leases[i] = trial.Win(t, b, fmt.Sprintf("share/%d", i), "x")
	}
	before := calls.keepAlives.Load()
	var renewals sync.WaitGroup
	for _, l := range leases {
		renewals.Go(func() {
			if _, err := l.Renew(trial.Within(t)); err != nil {
				t.Error(err)
			}
		})
	}
	renewals.Wait()
	if got := calls.keepAlives.Load() - before; got != 1 {
		t.Errorf("%d renewals at once made %d keep-alives, want 1", n, got)
	}
	before = calls.keepAlives.Load()
	for _, l := range leases {
		sent := backend.Now()
		g, err := l.Renew(trial.Within(t))
		if err != nil {
			t.Fatal(err)
		}
		if sent.Since(g.Sent) > b.TTL()/5 {
			t.Errorf("the grant counts from %v ago", sent.Since(g.Sent))
		}
	}
	if got := calls.keepAlives.Load() - before; got != 1 {
		t.Errorf("%d renewals in turn made %d keep-alives, want 1", n, got)
	}
	// One election alone gets a newer grant with each renewal.
	g1, err1 := leases[0].Renew(trial.Within(t))
	g2, err2 := leases[0].Renew(trial.Within(t))
	if err := errors.Join(err1, err2); err != nil || g2.Sent.Since(g1.Sent) <= 0 {
		t.Errorf("a second renewal moved the grant by %v, error %v", g2.Sent.Since(g1.Sent), err)
	}
}

// Who leaves a shared request leaves it to the others.
func TestCancelledRenewalCostsTheOthersNothing(t *testing.T) {
	server := servers.StartEtcd(t)
	var calls counter
	b := open(t, connect(t, []string{server.Endpoint()}, calls.count), etcd.WithTTL(long))
	first, second := trial.Win(t, b, "leave/1", "x"), trial.Win(t, b, "leave/2", "x")
	before := calls.keepAlives.Load()
	server.Pause()
	ctx, cancel := context.WithCancel(t.Context())
	renewed := [2]chan error{make(chan error, 1), make(chan error, 1)}
	go func() { _, err := first.Renew(ctx); renewed[0] <- err }()
	servers.Await(t, "the first renewal to be sent", func(context.Context) error {
		if calls.keepAlives.Load() == before {
			return errors.New("nothing was sent")
		}
		return nil
	})
	joined := make(chan struct{})
	go func() { close(joined); _, err := second.Renew(t.Context()); renewed[1] <- err }()
	<-joined
	<-time.After(50 * time.Millisecond) // so that it usually has joined; if not, it sends its own
	cancel()
	trial.MustBe(t, "the cancelled renewal", trial.Receive(t, "its end", renewed[0]), context.Canceled)
	server.Resume()
	if err := trial.Receive(t, "the other renewal", renewed[1]); err != nil {
		t.Errorf("the other renewal: %v", err)
	}
}

// A Backend on which nothing stands sends nothing, and one whose candidate waits sends three keep-alives
// and one look at the queue in a TTL.
func TestRequestsAtRest(t *testing.T) {
	server := servers.StartEtcd(t)
	var idle, busy counter
	idle.watches, busy.watches = nil, make(chan struct{}, 1024)
	a := open(t, connect(t, []string{server.Endpoint()}, idle.count), etcd.WithTTL(2*time.Second))
	l := trial.Win(t, a, "rest/idle", "x")
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	leader := open(t, connect(t, []string{server.Endpoint()}), etcd.WithTTL(long))
	trial.Win(t, leader, "rest/busy", "x")
	b := open(t, connect(t, []string{server.Endpoint()}, busy.count), etcd.WithTTL(3*time.Second))
	for i := range 3 {
		trial.Win(t, leader, fmt.Sprintf("rest/busy/%d", i), "x")
		trial.Campaign(t, t.Context(), b, fmt.Sprintf("rest/busy/%d", i), "y")
		busy.watched(t, 1)
	}
	idleBefore, busyBefore, keepBefore := idle.all.Load(), busy.all.Load(), busy.keepAlives.Load()
	const ttls = 3
	<-time.After(ttls * b.TTL())
	if got := idle.all.Load() - idleBefore; got != 0 {
		t.Errorf("a Backend on which nothing stands made %d requests", got)
	}
	keeps := busy.keepAlives.Load() - keepBefore
	if keeps < 3*ttls-2 || keeps > 3*ttls+1 {
		t.Errorf("%d keep-alives in %d TTLs, want about three per TTL", keeps, ttls)
	}
	if looks := busy.all.Load() - busyBefore - keeps; looks > 3*ttls {
		t.Errorf("%d requests besides the keep-alives in %d TTLs with three candidates, want one each per TTL at most", looks, ttls)
	}
}

// Candidates of package concurrency and ours stand in one queue: never two lead, and all are served in the
// order in which they came.
func TestMixedWithConcurrencyElection(t *testing.T) {
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	const key, n = "mixed", 12
	var leading atomic.Int32
	var mu sync.Mutex
	var served []int
	lead := func(i int) {
		if leading.Add(1) != 1 {
			t.Errorf("candidate %d leads beside another", i)
		}
		mu.Lock()
		served = append(served, i)
		mu.Unlock()
		<-time.After(5 * time.Millisecond) // long enough for another to be seen beside it
		leading.Add(-1)
	}
	first := trial.Win(t, open(t, operator, etcd.WithTTL(long)), key, "first")
	leading.Add(1)
	var all sync.WaitGroup
	for i := range n {
		client := connect(t, []string{server.Endpoint()})
		if i%2 == 0 {
			b := open(t, client, etcd.WithTTL(long))
			all.Go(func() {
				l, err := b.Campaign(trial.Within(t), key, []byte("ours"))
				if err != nil {
					t.Error(err)
					return
				}
				lead(i)
				if err := l.Resign(trial.Within(t)); err != nil {
					t.Error(err)
				}
			})
		} else {
			session, err := concurrency.NewSession(client)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = session.Close() })
			all.Go(func() {
				e := concurrency.NewElection(session, key)
				if err := e.Campaign(trial.Within(t), "theirs"); err != nil {
					t.Error(err)
					return
				}
				lead(i)
				if err := e.Resign(trial.Within(t)); err != nil {
					t.Error(err)
				}
			})
		}
		records(t, operator, key+"/", i+2)
	}
	leading.Add(-1)
	if err := first.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	if !slices.IsSorted(served) || len(served) != n {
		t.Errorf("served in the order %v", served)
	}
}

// What package concurrency announces is observed with its token, and the other way round.
func TestObservedAcross(t *testing.T) {
	server := servers.StartEtcd(t)
	client := connect(t, []string{server.Endpoint()})
	b := open(t, client, etcd.WithTTL(long))
	session, err := concurrency.NewSession(client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	e := concurrency.NewElection(session, "across")
	if err := e.Campaign(trial.Within(t), "theirs"); err != nil {
		t.Fatal(err)
	}
	for leader, err := range b.Observe(trial.Within(t), "across") {
		if err != nil || string(leader.Value) != "theirs" || leader.Token != uint64(e.Rev()) {
			t.Errorf("observed %q with token %d, error %v; want token %d", leader.Value, leader.Token, err, e.Rev())
		}
		break
	}
	if err := e.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	l := trial.Win(t, b, "across", "ours")
	resp, err := e.Leader(trial.Within(t))
	if err != nil || string(resp.Kvs[0].Value) != "ours" || uint64(resp.Kvs[0].CreateRevision) != l.Token() {
		t.Errorf("package concurrency sees %v, error %v; want token %d", resp, err, l.Token())
	}
}

// Many candidates of elections nested below a key, older and newer, are not candidates of the key.
func TestNestedElectionsAreOthers(t *testing.T) {
	server := servers.StartEtcd(t)
	client := connect(t, []string{server.Endpoint()})
	nested := func(from, to int) {
		for i := range to - from {
			for _, path := range []string{"nest/b/%x", "nest/b/c/%x", "nest/1f/%x", "nest/not-hex-%x", "nest/%016xf"} {
				if _, err := client.Put(trial.Within(t), fmt.Sprintf(path, from+i), "nested"); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	nested(0, 10)
	counter := countWatches()
	a, b := open(t, client, etcd.WithTTL(long)), open(t, connect(t, []string{server.Endpoint()}, counter.count), etcd.WithTTL(long))
	l := trial.Win(t, a, "nest", "a")
	nested(10, 20)
	waiting := trial.Campaign(t, t.Context(), b, "nest", "b")
	counter.watched(t, 1)
	select {
	case o := <-waiting:
		t.Fatalf("won beside the leader: %v", o)
	default:
	}
	for leader, err := range b.Observe(trial.Within(t), "nest") {
		if err != nil || string(leader.Value) != "a" || leader.Token != l.Token() {
			t.Errorf("observed %q with token %d, error %v", leader.Value, leader.Token, err)
		}
		break
	}
	nested(20, 30)
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	if o := trial.Receive(t, "the next win", waiting); o.Err != nil {
		t.Fatal(o.Err)
	}
	trial.Win(t, a, "nest/2f", "other") // an election whose key looks like a candidate of the one above
}

// Close revokes the lease when nobody holds a key, and else with the last who does.
func TestCloseEndsTheLease(t *testing.T) {
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	leases := func() int {
		resp, err := operator.Leases(trial.Within(t))
		if err != nil {
			t.Fatal(err)
		}
		return len(resp.Leases)
	}
	counter := countWatches()
	b := open(t, connect(t, []string{server.Endpoint()}, counter.count), etcd.WithTTL(long))
	l := trial.Win(t, b, "close/held", "x")
	waits := make(chan error, 1)
	go func() { waits <- l.Wait(t.Context()) }()
	if _, err := operator.Put(trial.Within(t), "close/waiting/1", ""); err != nil {
		t.Fatal(err)
	}
	waiting := trial.Campaign(t, t.Context(), b, "close/waiting", "x")
	counter.watched(t, 2)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	trial.MustBe(t, "a waiting Campaign", trial.Receive(t, "its end", waiting).Err, backend.ErrClosed)
	trial.MustBe(t, "Wait", trial.Receive(t, "its end", waits), backend.ErrClosed)
	records(t, operator, "close/waiting/", 1)
	if _, err := l.Renew(trial.Within(t)); err != nil {
		t.Errorf("Renew after Close: %v", err)
	}
	if got := leases(); got != 1 {
		t.Errorf("%d leases while a key is held, want 1", got)
	}
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	if got := leases(); got != 0 {
		t.Errorf("%d leases after the last Resign, want 0", got)
	}
	idle := open(t, connect(t, []string{server.Endpoint()}), etcd.WithTTL(long))
	if err := trial.Win(t, idle, "close/idle", "x").Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	if got := leases(); got != 0 {
		t.Errorf("%d leases after Close, want 0", got)
	}
}
