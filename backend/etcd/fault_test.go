package etcd_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// behind makes a client that reaches the server through a proxy of its own.
func behind(t testing.TB, server *servers.Etcd, opts ...func(*clientv3.Config)) (*servers.Proxy, *clientv3.Client) {
	t.Helper()
	proxy := servers.StartProxy(t, server.Endpoint())
	return proxy, connect(t, []string{proxy.Addr()}, opts...)
}

// The record is written, the answer lost, and then all contact: nobody knows what is in the store. The
// next Campaign of the same Backend must clean it up before it queues again.
func TestRecordOfALostAnswerIsCleaned(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	proxy, client := behind(t, server)
	b := open(t, client, etcd.WithTTL(long))
	held := trial.Win(t, b, "lost/held", "x") // keeps the session in use
	proxy.CutDown()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := trial.Campaign(t, ctx, b, "lost/answer", "x")
	left := records(t, operator, "lost/answer/", 1)[0]
	proxy.Cut()
	cancel()
	trial.MustBe(t, "Campaign", trial.Receive(t, "its end", result).Err, context.Canceled)
	proxy.Refuse() // what the withdrawal sent never arrives
	if got := records(t, operator, "lost/answer/", 1)[0]; got != left {
		t.Fatalf("the record %s became %s", left, got)
	}
	proxy.Heal()
	l := trial.Receive(t, "the next win", trial.Candidate(t, t.Context(), b, "lost/answer", "y")).Lease
	if got := records(t, operator, "lost/answer/", 1)[0]; got == left {
		t.Errorf("the new candidacy took over the record %s of the old one", got)
	}
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Error(err)
	}
	if _, err := held.Renew(trial.Within(t)); err != nil { // connected again by now
		t.Errorf("another term of the session: %v", err)
	}
}

// The write of the record is on its way when the caller leaves, and arrives after everything that was
// done to withdraw it. Another term keeps the lease alive for as long as it likes; the late record must
// not profit from that.
func TestRecordThatArrivesLateDoesNotStay(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	writes := &counter{writes: make(chan struct{}, 1024)}
	proxy, client := behind(t, server, writes.count)
	b := open(t, client, etcd.WithTTL(15*time.Second)) // longer than it takes to withdraw, and to connect again
	held := trial.Win(t, b, "late/held", "x")
	trial.Receive(t, "the write of the other term", writes.writes)
	proxy.CutUp()
	ctx, cancel := context.WithCancel(t.Context())
	result := trial.Campaign(t, ctx, b, "late/record", "x")
	trial.Receive(t, "the write", writes.writes)
	cancel()
	trial.MustBe(t, "Campaign", trial.Receive(t, "its end", result).Err, context.Canceled)
	// Such a write is made here, as the network's would not always be carried out.
	heldPath := records(t, operator, "late/held/", 1)[0]
	resp, err := operator.Get(trial.Within(t), heldPath)
	if err != nil {
		t.Fatal(err)
	}
	proxy.Refuse()
	proxy.Heal()
	trial.Insist(t, "Renew of another term", func() error { _, err := held.Renew(trial.Within(t)); return err })
	path := "late/record/" + heldPath[len("late/held/"):]
	if _, err := operator.Put(trial.Within(t), path, "x", clientv3.WithLease(clientv3.LeaseID(resp.Kvs[0].Lease))); err != nil {
		t.Fatal(err)
	}
	next := trial.Campaign(t, t.Context(), open(t, operator), "late/record", "y")
	for began := time.Now(); time.Since(began) < trial.Patience; {
		trial.Insist(t, "Renew of another term", func() error { _, err := held.Renew(trial.Within(t)); return err })
		select {
		case o := <-next:
			if o.Err != nil {
				t.Fatal(o.Err)
			}
			return
		case <-time.After(time.Second):
		}
	}
	t.Fatal("the late record stays")
}

// A leader that cannot reach the store learns nothing from it: no error is ErrLost, and none takes long.
func TestLeaderIsCutOff(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	for _, tc := range []struct {
		name string
		cut  func(*servers.Proxy)
	}{
		{"both ways", (*servers.Proxy).Cut},
		{"requests", (*servers.Proxy).CutUp},
		{"answers", (*servers.Proxy).CutDown},
		{"connections", (*servers.Proxy).Refuse},
	} {
		t.Run(tc.name, func(t *testing.T) {
			key := "cut/" + segment(t)
			proxy, client := behind(t, server)
			b := open(t, client, etcd.WithTTL(9*time.Second))
			l := trial.Win(t, b, key, "x")
			first := l.Grant()
			tc.cut(proxy)
			began := time.Now()
			_, err := l.Renew(trial.Within(t))
			trial.MustPass(t, "Renew", err)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("Renew took %v", took)
			}
			proxy.Heal()
			var g backend.Grant
			trial.Insist(t, "Renew after the cut healed", func() (err error) {
				g, err = l.Renew(trial.Within(t))
				return err
			})
			if g.Sent.Since(first.Sent) <= 0 {
				t.Error("Renew did not move the grant")
			}
			tc.cut(proxy)
			err = l.Resign(trial.Within(t))
			trial.MustPass(t, "Resign", err)
			proxy.Heal()
			trial.Insist(t, "Resign again", func() error { return l.Resign(trial.Within(t)) })
			records(t, operator, key+"/", 0)
		})
	}
}

// A failed Resign is made up for before the Backend stands for the key again.
func TestFailedResignIsRepeated(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	proxy, client := behind(t, server)
	b := open(t, client, etcd.WithTTL(long))
	l := trial.Win(t, b, "resign", "x")
	proxy.Refuse()
	trial.MustPass(t, "Resign", l.Resign(trial.Within(t)))
	records(t, operator, "resign/", 1)
	proxy.Heal()
	next := trial.Receive(t, "the next win", trial.Candidate(t, t.Context(), b, "resign", "y")).Lease
	if next.Token() <= l.Token() {
		t.Errorf("token %d after %d: the old record was taken over", next.Token(), l.Token())
	}
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Errorf("the old term's Resign: %v", err)
	}
	if _, err := next.Renew(trial.Within(t)); err != nil {
		t.Errorf("the new term after the old one's Resign: %v", err)
	}
}

// A candidate that is cut off for longer than it can tolerate ends with a passing error, in time.
func TestWaitingCandidateIsCutOff(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	leader := trial.Win(t, open(t, connect(t, []string{server.Endpoint()}), etcd.WithTTL(long)), "cutoff", "leader")
	for _, cut := range []func(*servers.Proxy){(*servers.Proxy).Cut, (*servers.Proxy).Refuse} {
		counter := countWatches()
		proxy, client := behind(t, server, counter.count)
		b := open(t, client, etcd.WithTTL(3*time.Second))
		waiting := trial.Campaign(t, t.Context(), b, "cutoff", "waiter")
		counter.watched(t, 1)
		began := time.Now()
		cut(proxy)
		o := trial.Receive(t, "the end of the candidacy", waiting)
		trial.MustPass(t, "Campaign", o.Err)
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("it took %v to notice", took)
		}
		proxy.Heal()
		again := trial.Candidate(t, t.Context(), b, "cutoff", "waiter")
		if err := leader.Resign(trial.Within(t)); err != nil {
			t.Fatal(err)
		}
		o = trial.Receive(t, "the next win", again)
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		leader = o.Lease
	}
}

// A server that is killed and started again has lost nothing; nor have those who lead, wait and watch,
// whatever errors they saw meanwhile.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	counter := countWatches()
	a := open(t, connect(t, []string{server.Endpoint()}), etcd.WithTTL(long))
	b := open(t, connect(t, []string{server.Endpoint()}, counter.count), etcd.WithTTL(long))
	l := trial.Win(t, a, "restart", "a")
	waits := make(chan error, 1)
	go func() {
		err := l.Wait(t.Context())
		for n := 0; !errors.Is(err, backend.ErrLost) && n < 3; n++ { // the store could not be listened to for a while
			trial.MustPass(t, "Wait", err)
			err = l.Wait(t.Context())
		}
		waits <- err
	}()
	waiting := trial.Candidate(t, t.Context(), b, "restart", "b")
	counter.watched(t, 1)
	server.Kill()
	_, err := l.Renew(trial.Within(t))
	trial.MustPass(t, "Renew with no server", err)
	server.Start()
	server.WaitReady()
	trial.Insist(t, "Renew after the restart", func() error { _, err := l.Renew(trial.Within(t)); return err })
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	trial.MustBe(t, "Wait", trial.Receive(t, "Wait", waits), backend.ErrLost)
	if o := trial.Receive(t, "the waiting candidate", waiting); o.Err != nil {
		t.Fatal(o.Err)
	}
}

// While a watch is broken off, the revisions it would go on from are compacted away.
func TestCompactionUnderWatches(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	counter := countWatches()
	proxy, client := behind(t, server, counter.count)
	leading := open(t, operator, etcd.WithTTL(long))
	l := trial.Win(t, leading, "compact", "a")
	b := open(t, client, etcd.WithTTL(long))
	mine := trial.Win(t, b, "compact/mine", "b")
	waits := make(chan error, 1)
	go func() { waits <- mine.Wait(t.Context()) }()
	waiting := trial.Campaign(t, t.Context(), b, "compact", "b")
	ctx, stop := context.WithCancel(t.Context())
	leaders := make(chan string, 16)
	observed := make(chan error, 1)
	go func() {
		defer close(observed)
		for leader, err := range b.Observe(ctx, "compact") {
			if err != nil {
				observed <- err
				return
			}
			leaders <- string(leader.Value)
		}
	}()
	counter.watched(t, 3)
	if got := trial.Receive(t, "the first leader", leaders); got != "a" {
		t.Errorf("observed %q", got)
	}
	proxy.Refuse()
	if err := l.Proclaim(trial.Within(t), []byte("a2")); err != nil {
		t.Fatal(err)
	}
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	remove(t, operator, records(t, operator, "compact/mine/", 1)[0])
	head, err := operator.Put(trial.Within(t), "unrelated", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := operator.Compact(trial.Within(t), head.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	proxy.Heal()
	if o := trial.Receive(t, "the waiting candidate", waiting); o.Err != nil {
		t.Fatal(o.Err)
	}
	trial.MustBe(t, "Wait", trial.Receive(t, "Wait", waits), backend.ErrLost)
	for trial.Receive(t, "the new leader", leaders) != "b" {
	}
	stop()
	if err := <-observed; err != nil {
		t.Errorf("Observe: %v", err)
	}
}

// A cluster of three loses its leader, elects another, and moves the office on: terms go on, nobody is
// told that they are lost, and a member that lost the others does not hold its clients.
func TestClusterChangesItsLeader(t *testing.T) {
	t.Parallel()
	cluster := servers.StartEtcdCluster(t, 3)
	counter := countWatches()
	a := open(t, connect(t, cluster.Endpoints()), etcd.WithTTL(long))
	b := open(t, connect(t, cluster.Endpoints(), counter.count), etcd.WithTTL(long))
	l := trial.Win(t, a, "cluster", "a")
	waiting := trial.Candidate(t, t.Context(), b, "cluster", "b")
	counter.watched(t, 1)
	renew := func(when string) {
		t.Helper()
		trial.Insist(t, "Renew "+when, func() error { _, err := l.Renew(trial.Within(t)); return err })
	}
	leader := cluster.Leader()
	leader.Kill()
	renew("after the leader was killed")
	leader.Start()
	cluster.WaitReady()
	for i := range 3 {
		cluster.MoveLeader(cluster.Member(i))
		renew("after the leader was moved")
	}
	paused := cluster.Leader()
	paused.Pause()
	renew("with a paused former leader")
	paused.Resume()
	cluster.WaitReady()
	trial.Insist(t, "Resign", func() error { return l.Resign(trial.Within(t)) })
	o := trial.Receive(t, "the next win", waiting)
	if o.Err != nil {
		t.Fatal(o.Err)
	}
	if o.Lease.Token() <= l.Token() {
		t.Errorf("token %d after %d", o.Lease.Token(), l.Token())
	}
}

// A member that is cut off from the others must not keep a leader, a candidate or an observer in the belief that
// nothing happens.
func TestMemberWithoutALeaderIsNoticed(t *testing.T) {
	t.Parallel()
	cluster := servers.StartEtcdCluster(t, 3)
	counter := countWatches()
	alone := cluster.Member(0)
	trial.Win(t, open(t, connect(t, cluster.Endpoints()), etcd.WithTTL(long)), "quorum", "a")
	b := open(t, connect(t, []string{alone.Endpoint()}, counter.count), etcd.WithTTL(long))
	losses, _ := await(t, trial.Win(t, b, "quorum/mine", "b"))
	waiting := trial.Campaign(t, t.Context(), b, "quorum", "b")
	observed := make(chan error, 1)
	go func() {
		for _, err := range b.Observe(t.Context(), "quorum") {
			if err != nil {
				observed <- err
			}
		}
	}()
	counter.watched(t, 3)
	cluster.Member(1).Kill()
	cluster.Member(2).Kill()
	trial.MustPass(t, "told", trial.Receive(t, "the trouble of a leader", losses.all))
	trial.MustPass(t, "Campaign", trial.Receive(t, "its end", waiting).Err)
	trial.MustPass(t, "Observe", trial.Receive(t, "its end", observed))
}

// segment returns a key segment that no other test uses.
func segment(t testing.TB) string {
	return string(slices.DeleteFunc([]byte(t.Name()), func(c byte) bool { return c == '/' || c == ' ' }))
}

// A watch that falls silent, as streams do, costs a TTL at most.
func TestSilentWatches(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	counter := countWatches()
	leader := trial.Win(t, open(t, connect(t, []string{server.Endpoint()}), etcd.WithTTL(long)), "silent", "a")
	b := open(t, connect(t, []string{server.Endpoint()}, counter.count), etcd.WithTTL(6*time.Second))
	waiting := trial.Campaign(t, t.Context(), b, "silent", "b")
	leaders := make(chan string, 16)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for leader, err := range b.Observe(ctx, "silent") {
			if err != nil {
				t.Error(err)
			}
			leaders <- string(leader.Value)
		}
	}()
	defer func() { stop(); <-done }()
	counter.watched(t, 2)
	if got := trial.Receive(t, "the leader", leaders); got != "a" {
		t.Errorf("observed %q", got)
	}
	counter.mute.Store(true)
	if err := leader.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	if o := trial.Receive(t, "the waiting candidate", waiting); o.Err != nil {
		t.Fatal(o.Err)
	}
	for trial.Receive(t, "the new leader", leaders) != "b" {
	}
}

// A slow answer does not lengthen a promise: grants count from before the request.
func TestGrantsCountFromTheSend(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	var mu sync.Mutex
	sent := make(map[string]backend.Instant) // by method, when it was called last
	requests := counter{called: func(method string) {
		mu.Lock()
		defer mu.Unlock()
		sent[method] = backend.Now()
	}}
	last := func(method string) backend.Instant {
		mu.Lock()
		defer mu.Unlock()
		at, ok := sent[method]
		if !ok {
			t.Fatalf("%s was not called", method)
		}
		return at
	}
	b := open(t, connect(t, []string{server.Endpoint()}, requests.count), etcd.WithTTL(long))
	l := trial.Win(t, b, "sent", "x")
	if early := last("/etcdserverpb.Lease/LeaseGrant").Since(l.Grant().Sent); early < 0 {
		t.Errorf("the grant of the win counts from %v after the request was sent", -early)
	}
	began := backend.Now()
	g, err := l.Renew(trial.Within(t))
	if err != nil {
		t.Fatal(err)
	}
	if early, late := last("/etcdserverpb.Lease/LeaseKeepAlive").Since(g.Sent), g.Sent.Since(began); early < 0 || late < 0 {
		t.Errorf("the grant of a renewal counts from %v before the request was sent, and %v after the call", early, late)
	}
}
