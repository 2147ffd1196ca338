package etcd_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/internal/servers"
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
	held := win(t, b, "lost/held", "x") // keeps the session in use
	proxy.CutDown()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := campaign(t, ctx, b, "lost/answer", "x")
	left := records(t, operator, "lost/answer/", 1)[0]
	proxy.Cut()
	cancel()
	mustBe(t, "Campaign", receive(t, "its end", result).err, context.Canceled)
	proxy.Refuse() // what the withdrawal sent never arrives
	if got := records(t, operator, "lost/answer/", 1)[0]; got != left {
		t.Fatalf("the record %s became %s", left, got)
	}
	proxy.Heal()
	l := receive(t, "the next win", candidate(t, t.Context(), b, "lost/answer", "y")).lease
	if got := records(t, operator, "lost/answer/", 1)[0]; got == left {
		t.Errorf("the new candidacy took over the record %s of the old one", got)
	}
	if err := l.Resign(within(t)); err != nil {
		t.Error(err)
	}
	if _, err := held.Renew(within(t)); err != nil { // connected again by now
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
	b := open(t, client, etcd.WithTTL(6*time.Second))
	held := win(t, b, "late/held", "x")
	receive(t, "the write of the other term", writes.writes)
	proxy.CutUp()
	ctx, cancel := context.WithCancel(t.Context())
	result := campaign(t, ctx, b, "late/record", "x")
	receive(t, "the write", writes.writes)
	cancel()
	mustBe(t, "Campaign", receive(t, "its end", result).err, context.Canceled)
	// Such a write is made here, as the network's would not always be carried out.
	heldPath := records(t, operator, "late/held/", 1)[0]
	resp, err := operator.Get(within(t), heldPath)
	if err != nil {
		t.Fatal(err)
	}
	proxy.Refuse()
	proxy.Heal()
	insist(t, "Renew of another term", func() error { _, err := held.Renew(within(t)); return err })
	path := "late/record/" + heldPath[len("late/held/"):]
	if _, err := operator.Put(within(t), path, "x", clientv3.WithLease(clientv3.LeaseID(resp.Kvs[0].Lease))); err != nil {
		t.Fatal(err)
	}
	next := campaign(t, t.Context(), open(t, operator), "late/record", "y")
	for began := time.Now(); time.Since(began) < patience; {
		insist(t, "Renew of another term", func() error { _, err := held.Renew(within(t)); return err })
		select {
		case o := <-next:
			if o.err != nil {
				t.Fatal(o.err)
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
			l := win(t, b, key, "x")
			first := l.Grant()
			tc.cut(proxy)
			began := time.Now()
			_, err := l.Renew(within(t))
			mustPass(t, "Renew", err)
			if errors.Is(err, backend.ErrLost) {
				t.Errorf("Renew says lost, and nobody said so: %v", err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("Renew took %v", took)
			}
			proxy.Heal()
			var g backend.Grant
			insist(t, "Renew after the cut healed", func() (err error) {
				g, err = l.Renew(within(t))
				return err
			})
			if g.Sent.Since(first.Sent) <= 0 {
				t.Error("Renew did not move the grant")
			}
			tc.cut(proxy)
			err = l.Resign(within(t))
			mustPass(t, "Resign", err)
			proxy.Heal()
			insist(t, "Resign again", func() error { return l.Resign(within(t)) })
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
	l := win(t, b, "resign", "x")
	proxy.Refuse()
	mustPass(t, "Resign", l.Resign(within(t)))
	records(t, operator, "resign/", 1)
	proxy.Heal()
	next := receive(t, "the next win", candidate(t, t.Context(), b, "resign", "y")).lease
	if next.Token() <= l.Token() {
		t.Errorf("token %d after %d: the old record was taken over", next.Token(), l.Token())
	}
	if err := l.Resign(within(t)); err != nil {
		t.Errorf("the old term's Resign: %v", err)
	}
	if _, err := next.Renew(within(t)); err != nil {
		t.Errorf("the new term after the old one's Resign: %v", err)
	}
}

// A candidate that is cut off for longer than it can tolerate ends with a passing error, in time.
func TestWaitingCandidateIsCutOff(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	leader := win(t, open(t, connect(t, []string{server.Endpoint()}), etcd.WithTTL(long)), "cutoff", "leader")
	for _, cut := range []func(*servers.Proxy){(*servers.Proxy).Cut, (*servers.Proxy).Refuse} {
		counter := countWatches()
		proxy, client := behind(t, server, counter.count)
		b := open(t, client, etcd.WithTTL(3*time.Second))
		waiting := campaign(t, t.Context(), b, "cutoff", "waiter")
		counter.watched(t, 1)
		began := time.Now()
		cut(proxy)
		o := receive(t, "the end of the candidacy", waiting)
		mustPass(t, "Campaign", o.err)
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("it took %v to notice", took)
		}
		proxy.Heal()
		again := candidate(t, t.Context(), b, "cutoff", "waiter")
		if err := leader.Resign(within(t)); err != nil {
			t.Fatal(err)
		}
		o = receive(t, "the next win", again)
		if o.err != nil {
			t.Fatal(o.err)
		}
		leader = o.lease
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
	l := win(t, a, "restart", "a")
	waits := make(chan error, 1)
	go func() {
		err := l.Wait(t.Context())
		for n := 0; !errors.Is(err, backend.ErrLost) && n < 3; n++ { // the store could not be listened to for a while
			mustPass(t, "Wait", err)
			err = l.Wait(t.Context())
		}
		waits <- err
	}()
	waiting := candidate(t, t.Context(), b, "restart", "b")
	counter.watched(t, 1)
	server.Kill()
	_, err := l.Renew(within(t))
	mustPass(t, "Renew with no server", err)
	server.Start()
	server.WaitReady()
	insist(t, "Renew after the restart", func() error { _, err := l.Renew(within(t)); return err })
	if err := l.Resign(within(t)); err != nil {
		t.Fatal(err)
	}
	mustBe(t, "Wait", receive(t, "Wait", waits), backend.ErrLost)
	if o := receive(t, "the waiting candidate", waiting); o.err != nil {
		t.Fatal(o.err)
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
	l := win(t, leading, "compact", "a")
	b := open(t, client, etcd.WithTTL(long))
	mine := win(t, b, "compact/mine", "b")
	waits := make(chan error, 1)
	go func() { waits <- mine.Wait(t.Context()) }()
	waiting := campaign(t, t.Context(), b, "compact", "b")
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
	if got := receive(t, "the first leader", leaders); got != "a" {
		t.Errorf("observed %q", got)
	}
	proxy.Refuse()
	if err := l.Proclaim(within(t), []byte("a2")); err != nil {
		t.Fatal(err)
	}
	if err := l.Resign(within(t)); err != nil {
		t.Fatal(err)
	}
	remove(t, operator, records(t, operator, "compact/mine/", 1)[0])
	head, err := operator.Put(within(t), "unrelated", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := operator.Compact(within(t), head.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	proxy.Heal()
	if o := receive(t, "the waiting candidate", waiting); o.err != nil {
		t.Fatal(o.err)
	}
	mustBe(t, "Wait", receive(t, "Wait", waits), backend.ErrLost)
	for receive(t, "the new leader", leaders) != "b" {
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
	l := win(t, a, "cluster", "a")
	waiting := candidate(t, t.Context(), b, "cluster", "b")
	counter.watched(t, 1)
	renew := func(when string) {
		t.Helper()
		insist(t, "Renew "+when, func() error { _, err := l.Renew(within(t)); return err })
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
	insist(t, "Resign", func() error { return l.Resign(within(t)) })
	o := receive(t, "the next win", waiting)
	if o.err != nil {
		t.Fatal(o.err)
	}
	if o.lease.Token() <= l.Token() {
		t.Errorf("token %d after %d", o.lease.Token(), l.Token())
	}
}

// A member that is cut off from the others must not keep a leader, a candidate or an observer in the belief that
// nothing happens.
func TestMemberWithoutALeaderIsNoticed(t *testing.T) {
	t.Parallel()
	cluster := servers.StartEtcdCluster(t, 3)
	counter := countWatches()
	alone := cluster.Member(0)
	win(t, open(t, connect(t, cluster.Endpoints()), etcd.WithTTL(long)), "quorum", "a")
	b := open(t, connect(t, []string{alone.Endpoint()}, counter.count), etcd.WithTTL(long))
	losses, _ := await(t, win(t, b, "quorum/mine", "b"))
	waiting := campaign(t, t.Context(), b, "quorum", "b")
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
	err := receive(t, "the trouble of a leader", losses.all)
	if mustPass(t, "told", err); errors.Is(err, backend.ErrLost) {
		t.Errorf("told %v, and nobody said so", err)
	}
	mustPass(t, "Campaign", receive(t, "its end", waiting).err)
	mustPass(t, "Observe", receive(t, "its end", observed))
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
	leader := win(t, open(t, connect(t, []string{server.Endpoint()}), etcd.WithTTL(long)), "silent", "a")
	b := open(t, connect(t, []string{server.Endpoint()}, counter.count), etcd.WithTTL(3*time.Second))
	waiting := campaign(t, t.Context(), b, "silent", "b")
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
	if got := receive(t, "the leader", leaders); got != "a" {
		t.Errorf("observed %q", got)
	}
	counter.mute.Store(true)
	if err := leader.Resign(within(t)); err != nil {
		t.Fatal(err)
	}
	if o := receive(t, "the waiting candidate", waiting); o.err != nil {
		t.Fatal(o.err)
	}
	for receive(t, "the new leader", leaders) != "b" {
	}
}

// A slow answer does not lengthen a promise: grants count from before the request.
func TestGrantsCountFromTheSend(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	proxy, client := behind(t, server)
	b := open(t, client, etcd.WithTTL(long))
	win(t, b, "sent/connected", "x")
	const delay = 400 * time.Millisecond // each way
	proxy.Delay(delay)
	began := backend.Now()
	other := open(t, client, etcd.WithTTL(long))
	l := win(t, other, "sent", "x")
	if late := l.Grant().Sent.Since(began); late > delay {
		t.Errorf("the grant of the win counts from %v after the call, though the request took %v", late, 2*delay)
	}
	began = backend.Now()
	g, err := l.Renew(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if late := g.Sent.Since(began); late < 0 || late > delay {
		t.Errorf("the grant of a renewal counts from %v after the call, though the request took %v", late, 2*delay)
	}
	proxy.Heal()
}
