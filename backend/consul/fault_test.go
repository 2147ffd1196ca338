package consul_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/consul"
	"github.com/hustings-go/hustings/internal/servers"
)

// behind makes a client that reaches the server through a proxy of its own.
func behind(t testing.TB, server *servers.Consul, w *wire) (*servers.Proxy, *api.Client) {
	t.Helper()
	proxy := servers.StartProxy(t, server.Endpoint())
	return proxy, connectBy(t, w, proxy.Addr())
}

// awaitHeld waits until somebody holds key, and returns whose session it is.
func awaitHeld(t testing.TB, client *api.Client, key string) (session string) {
	t.Helper()
	servers.Await(t, key+" to be held", func(context.Context) error {
		if pair := entry(t, client, key); pair != nil && pair.Session != "" {
			session = pair.Session
			return nil
		}
		return errors.New("it is not")
	})
	return session
}

// The key is taken, the answer lost, and then all contact: nobody knows what is in the store. The
// next Campaign of the same Backend must give it up before it stands again.
func TestKeyOfALostAnswerIsGivenUp(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	w := newWire()
	proxy, client := behind(t, server, w)
	b := open(t, client, consul.WithTTL(15*time.Second))
	held := win(t, b, "lost/held", "x") // keeps the session in use
	if _, err := operator.KV().Put(&api.KVPair{Key: "lost/answer", Flags: api.LockFlagValue}, nil); err != nil {
		t.Fatal(err)
	}
	writes := make(chan struct{}, 16)
	w.beforeTxn = sync.OnceFunc(func() {
		proxy.CutDown()
		writes <- struct{}{}
	})
	ctx, cancel := context.WithCancel(t.Context())
	result := campaign(t, ctx, b, "lost/answer", "x")
	receive(t, "the write", writes)
	old := awaitHeld(t, operator, "lost/answer")
	proxy.Cut()
	cancel()
	mustBe(t, "Campaign", receive(t, "its end", result).err, context.Canceled)
	proxy.Refuse() // what the withdrawal sent never arrives
	first := entry(t, operator, "lost/answer~term").ModifyIndex
	if now := holder(t, operator, "lost/answer"); now != old {
		t.Fatalf("the key went from %s to %s", old, now)
	}
	proxy.Heal()
	l := receive(t, "the next win", candidate(t, t.Context(), b, "lost/answer", "y")).lease
	if l.Token() <= first || holder(t, operator, "lost/answer") == old {
		t.Errorf("the new candidacy took over what the old one wrote: token %d after %d", l.Token(), first)
	}
	if err := l.Resign(within(t)); err != nil {
		t.Error(err)
	}
	if _, err := held.Renew(within(t)); err != nil {
		t.Errorf("another term of the session: %v", err)
	}
}

// The write that takes the key is on its way when the caller leaves, and arrives after everything that was
// done to withdraw it. Another term keeps the session alive for as long as it likes; what arrived late must
// not profit from that.
func TestKeyThatIsTakenLateIsGivenUp(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	w := newWire()
	proxy, client := behind(t, server, w)
	b := open(t, client, consul.WithTTL(15*time.Second))
	held := win(t, b, "late/held", "x")
	id := holder(t, operator, "late/held")
	writes := make(chan struct{}, 16)
	w.beforeTxn = sync.OnceFunc(func() {
		proxy.CutUp()
		writes <- struct{}{}
	})
	ctx, cancel := context.WithCancel(t.Context())
	result := campaign(t, ctx, b, "late/key", "x")
	receive(t, "the write", writes)
	cancel()
	mustBe(t, "Campaign", receive(t, "its end", result).err, context.Canceled)
	proxy.Refuse()
	proxy.Heal()
	insist(t, "Renew of another term", func() error { _, err := held.Renew(within(t)); return err })
	// Such a write is made here, as the network's would not always be carried out.
	late := api.TxnOps{
		{KV: &api.KVTxnOp{Verb: api.KVLock, Key: "late/key", Session: id, Flags: api.LockFlagValue}},
		{KV: &api.KVTxnOp{Verb: api.KVLock, Key: "late/key~term", Session: id, Flags: api.LockFlagValue}},
	}
	if ok, resp, _, err := operator.Txn().Txn(late, nil); !ok || err != nil {
		t.Fatalf("the late write: %+v, error %v", resp, err)
	}
	next := campaign(t, t.Context(), open(t, operator, consul.WithTTL(long)), "late/key", "y")
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
	t.Fatal("what was taken late stays")
}

// A leader that cannot reach the store learns nothing from it: no error is ErrLost, and none takes long.
func TestLeaderIsCutOff(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
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
			t.Parallel()
			key := "cut/" + segment(t)
			proxy, client := behind(t, server, newWire())
			b := open(t, client, consul.WithTTL(15*time.Second))
			l := win(t, b, key, "x")
			first := l.Grant()
			tc.cut(proxy)
			began := time.Now()
			_, err := l.Renew(within(t))
			mustPass(t, "Renew", err)
			if errors.Is(err, backend.ErrLost) {
				t.Errorf("Renew says lost, and nobody said so: %v", err)
			}
			if took := time.Since(began); took > 8*time.Second {
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
			mustPass(t, "Resign", l.Resign(within(t)))
			proxy.Heal()
			insist(t, "Resign again", func() error { return l.Resign(within(t)) })
			if left := keys(t, operator, key); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// A failed Resign is made up for before the Backend stands for the key again, and touches no later term.
func TestFailedResignIsRepeated(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	proxy, client := behind(t, server, newWire())
	b := open(t, client, consul.WithTTL(long))
	l := win(t, b, "resign", "x")
	proxy.Refuse()
	mustPass(t, "Resign", l.Resign(within(t)))
	holder(t, operator, "resign")
	proxy.Heal()
	next := receive(t, "the next win", candidate(t, t.Context(), b, "resign", "y")).lease
	if next.Token() <= l.Token() {
		t.Errorf("token %d after %d: the old term was taken over", next.Token(), l.Token())
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
	server := servers.StartConsul(t)
	leader := win(t, open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), "cutoff", "leader")
	for _, cut := range []func(*servers.Proxy){(*servers.Proxy).Cut, (*servers.Proxy).Refuse} {
		w := countWaits()
		proxy, client := behind(t, server, w)
		b := open(t, client, consul.WithTTL(short))
		waiting := campaign(t, t.Context(), b, "cutoff", "waiter")
		w.waits(t, 1)
		began := time.Now()
		cut(proxy)
		mustPass(t, "Campaign", receive(t, "the end of the candidacy", waiting).err)
		if took := time.Since(began); took > short+2*time.Second {
			t.Errorf("it took %v to notice", took)
		}
		proxy.Heal()
		again := candidate(t, t.Context(), b, "cutoff", "waiter")
		if err := leader.Resign(within(t)); err != nil {
			t.Fatal(err)
		}
		o := receive(t, "the next win", again)
		if o.err != nil {
			t.Fatal(o.err)
		}
		leader = o.lease
	}
}

// A server that is killed and started again has lost nothing; nor have those who lead and wait, whatever
// errors they saw meanwhile.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := countWaits()
	l := win(t, open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), "restart", "a")
	waiting := candidate(t, t.Context(), open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long)), "restart", "b")
	w.waits(t, 1)
	server.Kill()
	_, err := l.Renew(within(t))
	mustPass(t, "Renew with no server", err)
	mustPass(t, "Wait with no server", l.Wait(within(t)))
	server.Start()
	server.WaitReady()
	insist(t, "Renew after the restart", func() error { _, err := l.Renew(within(t)); return err })
	waits := beside(t, within(t), l.Wait)
	if err := l.Resign(within(t)); err != nil {
		t.Fatal(err)
	}
	mustBe(t, "Wait", receive(t, "its end", waits), backend.ErrLost)
	o := receive(t, "the waiting candidate", waiting)
	if o.err != nil {
		t.Fatal(o.err)
	}
	if o.lease.Token() <= l.Token() {
		t.Errorf("token %d after %d", o.lease.Token(), l.Token())
	}
}

// An operator takes the store back to what it was. Blocking queries do not tell, because their indexes lie in
// what is now the future; renewals do, and tokens grow all the same.
func TestSnapshotIsRestored(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	b := open(t, connect(t, server.Endpoint()), consul.WithTTL(long))
	if err := win(t, b, "restore/other", "x").Resign(within(t)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "snapshot")
	server.Ctl("snapshot", "save", file)
	l := win(t, open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), "restore", "after the snapshot")
	w := countWaits()
	waiting := candidate(t, t.Context(), open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(short)), "restore", "next")
	w.waits(t, 1)
	waits := beside(t, within(t), l.Wait)
	server.Ctl("snapshot", "restore", file)
	_, err := l.Renew(within(t))
	mustBe(t, "Renew", err, backend.ErrLost)
	mustBe(t, "Wait", receive(t, "its end", waits), backend.ErrLost)
	o := receive(t, "the next win", waiting)
	if o.err != nil {
		t.Fatal(o.err)
	}
	if o.lease.Token() <= l.Token() {
		t.Errorf("token %d after %d", o.lease.Token(), l.Token())
	}
}

// A cluster of three loses its leader and elects another: terms go on, and nobody is told that they are lost.
func TestClusterChangesItsLeader(t *testing.T) {
	t.Parallel()
	cluster := servers.StartConsulCluster(t, 3)
	var followers []*servers.Consul
	first := cluster.Leader()
	for i := range 3 {
		if m := cluster.Member(i); m != first {
			followers = append(followers, m)
		}
	}
	w := countWaits()
	l := win(t, open(t, connect(t, followers[0].Endpoint()), consul.WithTTL(long)), "cluster", "a")
	waiting := candidate(t, t.Context(), open(t, connectBy(t, w, followers[1].Endpoint()), consul.WithTTL(long)), "cluster", "b")
	w.waits(t, 1)
	renew := func(when string) {
		t.Helper()
		insist(t, "Renew "+when, func() error { _, err := l.Renew(within(t)); return err })
	}
	first.Kill()
	renew("after the leader was killed")
	first.Start()
	cluster.WaitReady()
	if paused := cluster.Leader(); paused != followers[0] {
		paused.Pause()
		renew("with a paused former leader")
		paused.Resume()
		cluster.WaitReady()
	}
	insist(t, "Resign", func() error { return l.Resign(within(t)) })
	o := receive(t, "the next win", waiting)
	if o.err != nil {
		t.Fatal(o.err)
	}
	if o.lease.Token() <= l.Token() {
		t.Errorf("token %d after %d", o.lease.Token(), l.Token())
	}
}

// A server without a majority proves nothing and lets nobody win, whatever it remembers.
func TestServerWithoutAMajorityProvesNothing(t *testing.T) {
	t.Parallel()
	cluster := servers.StartConsulCluster(t, 3)
	leader := cluster.Leader()
	l := win(t, open(t, connect(t, leader.Endpoint()), consul.WithTTL(15*time.Second)), "majority", "a")
	for i := range 3 {
		if m := cluster.Member(i); m != leader {
			m.Kill()
		}
	}
	_, err := l.Renew(within(t)) // in its last moment as the leader, the server renews, but proves nothing
	mustPass(t, "Renew", err)
	if errors.Is(err, backend.ErrLost) {
		t.Errorf("Renew: %v", err)
	}
	_, err = open(t, connect(t, leader.Endpoint()), consul.WithTTL(15*time.Second)).Campaign(within(t), "majority/free", nil)
	mustPass(t, "Campaign", err)
}

// A renewal that hangs costs those who wait for it one attempt each, and not the term: the next one is another.
func TestRenewalThatHangs(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := newWire()
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(15*time.Second))
	patient, l := win(t, b, "hangs/patient", "x"), win(t, b, "hangs/brisk", "x")
	hung := make(chan struct{})
	hang := sync.OnceFunc(func() { close(hung) })
	w.beforeRenewal = func(ctx context.Context) {
		select {
		case <-hung: // only the first
		default:
			hang()
			<-ctx.Done()
		}
	}
	beside(t, t.Context(), func(ctx context.Context) error { _, err := patient.Renew(ctx); return err })
	receive(t, "the first renewal", hung)
	for attempt := range 3 { // as an election makes them: a tenth of the TTL for each
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		_, err := l.Renew(ctx)
		cancel()
		if err == nil {
			return
		}
		t.Logf("attempt %d: %v", attempt, err)
	}
	t.Error("three attempts failed because of one renewal that hung")
}

// A slow answer does not lengthen a promise: grants count from before the request.
func TestGrantsCountFromTheSend(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	proxy, client := behind(t, server, newWire())
	const delay = 400 * time.Millisecond // each way
	proxy.Delay(delay)
	b := open(t, client, consul.WithTTL(long))
	began := backend.Now()
	l := win(t, b, "sent", "x")
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

// segment returns a key segment that no other test uses.
func segment(t testing.TB) string {
	return string(slices.DeleteFunc([]byte(t.Name()), func(c byte) bool { return c == '/' || c == ' ' }))
}
