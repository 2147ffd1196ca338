package consul_test

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/consul"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
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
	b := open(t, client, consul.WithTTL(long))
	held := trial.Win(t, b, "lost/held", "x") // keeps the session in use
	if _, err := operator.KV().Put(&api.KVPair{Key: "lost/answer", Flags: api.LockFlagValue}, nil); err != nil {
		t.Fatal(err)
	}
	writes := make(chan struct{}, 16)
	w.beforeTxn = sync.OnceFunc(func() {
		proxy.CutDown()
		writes <- struct{}{}
	})
	ctx, cancel := context.WithCancel(t.Context())
	result := trial.Campaign(t, ctx, b, "lost/answer", "x")
	trial.Receive(t, "the write", writes)
	old := awaitHeld(t, operator, "lost/answer")
	proxy.Cut()
	cancel()
	trial.MustBe(t, "Campaign", trial.Receive(t, "its end", result).Err, context.Canceled)
	proxy.Refuse() // what the withdrawal sent never arrives
	first := entry(t, operator, "lost/answer~term").ModifyIndex
	if now := holder(t, operator, "lost/answer"); now != old {
		t.Fatalf("the key went from %s to %s", old, now)
	}
	proxy.Heal()
	l := trial.Receive(t, "the next win", trial.Candidate(t, t.Context(), b, "lost/answer", "y")).Lease
	if l.Token() <= first || holder(t, operator, "lost/answer") == old {
		t.Errorf("the new candidacy took over what the old one wrote: token %d after %d", l.Token(), first)
	}
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Error(err)
	}
	if _, err := held.Renew(trial.Within(t)); err != nil {
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
	held := trial.Win(t, b, "late/held", "x")
	id := holder(t, operator, "late/held")
	writes := make(chan struct{}, 16)
	w.beforeTxn = sync.OnceFunc(func() {
		proxy.CutUp()
		writes <- struct{}{}
	})
	ctx, cancel := context.WithCancel(t.Context())
	result := trial.Campaign(t, ctx, b, "late/key", "x")
	trial.Receive(t, "the write", writes)
	cancel()
	trial.MustBe(t, "Campaign", trial.Receive(t, "its end", result).Err, context.Canceled)
	proxy.Refuse()
	proxy.Heal()
	trial.Insist(t, "Renew of another term", func() error { _, err := held.Renew(trial.Within(t)); return err })
	// Such a write is made here, as the network's would not always be carried out.
	late := api.TxnOps{
		{KV: &api.KVTxnOp{Verb: api.KVLock, Key: "late/key", Session: id, Flags: api.LockFlagValue}},
		{KV: &api.KVTxnOp{Verb: api.KVLock, Key: "late/key~term", Session: id, Flags: api.LockFlagValue}},
	}
	if ok, resp, _, err := operator.Txn().Txn(late, nil); !ok || err != nil {
		t.Fatalf("the late write: %+v, error %v", resp, err)
	}
	next := trial.Campaign(t, t.Context(), open(t, operator, consul.WithTTL(long)), "late/key", "y")
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
			l := trial.Win(t, b, key, "x")
			first := l.Grant()
			tc.cut(proxy)
			began := time.Now()
			_, err := l.Renew(trial.Within(t))
			trial.MustPass(t, "Renew", err)
			if took := time.Since(began); took > 8*time.Second {
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
			trial.MustPass(t, "Resign", l.Resign(trial.Within(t)))
			proxy.Heal()
			trial.Insist(t, "Resign again", func() error { return l.Resign(trial.Within(t)) })
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
	l := trial.Win(t, b, "resign", "x")
	proxy.Refuse()
	trial.MustPass(t, "Resign", l.Resign(trial.Within(t)))
	holder(t, operator, "resign")
	proxy.Heal()
	next := trial.Receive(t, "the next win", trial.Candidate(t, t.Context(), b, "resign", "y")).Lease
	if next.Token() <= l.Token() {
		t.Errorf("token %d after %d: the old term was taken over", next.Token(), l.Token())
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
	server := servers.StartConsul(t)
	leader := trial.Win(t, open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), "cutoff", "leader")
	for _, cut := range []func(*servers.Proxy){(*servers.Proxy).Cut, (*servers.Proxy).Refuse} {
		w := countWaits()
		proxy, client := behind(t, server, w)
		b := open(t, client, consul.WithTTL(short))
		waiting := trial.Campaign(t, t.Context(), b, "cutoff", "waiter")
		w.waits(t, 1)
		began := time.Now()
		cut(proxy)
		trial.MustPass(t, "Campaign", trial.Receive(t, "the end of the candidacy", waiting).Err)
		if took := time.Since(began); took > short+2*time.Second {
			t.Errorf("it took %v to notice", took)
		}
		proxy.Heal()
		again := trial.Candidate(t, t.Context(), b, "cutoff", "waiter")
		if err := leader.Resign(trial.Within(t)); err != nil {
			t.Fatal(err)
		}
		o := trial.Receive(t, "the next win", again)
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		leader = o.Lease
	}
}

// A server that is killed and started again has lost nothing; nor have those who lead and wait, whatever
// errors they saw meanwhile.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := countWaits()
	l := trial.Win(t, open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), "restart", "a")
	waiting := trial.Candidate(t, t.Context(), open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long)), "restart", "b")
	w.waits(t, 1)
	server.Kill()
	_, err := l.Renew(trial.Within(t))
	trial.MustPass(t, "Renew with no server", err)
	err = l.Wait(trial.Within(t))
	trial.MustPass(t, "Wait with no server", err)
	server.Start()
	server.WaitReady()
	trial.Insist(t, "Renew after the restart", func() error { _, err := l.Renew(trial.Within(t)); return err })
	waits := trial.Beside(t, trial.Within(t), l.Wait)
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	trial.MustBe(t, "Wait", trial.Receive(t, "its end", waits), backend.ErrLost)
	o := trial.Receive(t, "the waiting candidate", waiting)
	if o.Err != nil {
		t.Fatal(o.Err)
	}
	if o.Lease.Token() <= l.Token() {
		t.Errorf("token %d after %d", o.Lease.Token(), l.Token())
	}
}

// An operator takes the store back to what it was. Blocking queries do not tell, because their indexes lie in
// what is now the future; renewals do, and tokens grow all the same.
func TestSnapshotIsRestored(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	b := open(t, connect(t, server.Endpoint()), consul.WithTTL(long))
	if err := trial.Win(t, b, "restore/other", "x").Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "snapshot")
	server.Ctl("snapshot", "save", file)
	l := trial.Win(t, open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), "restore", "after the snapshot")
	w := countWaits()
	waiting := trial.Candidate(t, t.Context(), open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(short)), "restore", "next")
	w.waits(t, 1)
	waits := trial.Beside(t, trial.Within(t), l.Wait)
	server.Ctl("snapshot", "restore", file)
	_, err := l.Renew(trial.Within(t))
	trial.MustBe(t, "Renew", err, backend.ErrLost)
	trial.MustBe(t, "Wait", trial.Receive(t, "its end", waits), backend.ErrLost)
	o := trial.Receive(t, "the next win", waiting)
	if o.Err != nil {
		t.Fatal(o.Err)
	}
	if o.Lease.Token() <= l.Token() {
		t.Errorf("token %d after %d", o.Lease.Token(), l.Token())
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
	l := trial.Win(t, open(t, connect(t, followers[0].Endpoint()), consul.WithTTL(long)), "cluster", "a")
	waiting := trial.Candidate(t, t.Context(), open(t, connectBy(t, w, followers[1].Endpoint()), consul.WithTTL(long)), "cluster", "b")
	w.waits(t, 1)
	renew := func(when string) {
		t.Helper()
		trial.Insist(t, "Renew "+when, func() error { _, err := l.Renew(trial.Within(t)); return err })
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
	trial.Insist(t, "Resign", func() error { return l.Resign(trial.Within(t)) })
	o := trial.Receive(t, "the next win", waiting)
	if o.Err != nil {
		t.Fatal(o.Err)
	}
	if o.Lease.Token() <= l.Token() {
		t.Errorf("token %d after %d", o.Lease.Token(), l.Token())
	}
}

// A server without a majority proves nothing and lets nobody win, whatever it remembers.
func TestServerWithoutAMajorityProvesNothing(t *testing.T) {
	t.Parallel()
	cluster := servers.StartConsulCluster(t, 3)
	leader := cluster.Leader()
	l := trial.Win(t, open(t, connect(t, leader.Endpoint()), consul.WithTTL(15*time.Second)), "majority", "a")
	for i := range 3 {
		if m := cluster.Member(i); m != leader {
			m.Kill()
		}
	}
	_, err := l.Renew(trial.Within(t)) // in its last moment as the leader, the server renews, but proves nothing
	trial.MustPass(t, "Renew", err)
	_, err = open(t, connect(t, leader.Endpoint()), consul.WithTTL(15*time.Second)).Campaign(trial.Within(t), "majority/free", nil)
	trial.MustPass(t, "Campaign", err)
}

// A renewal that hangs costs those who wait for it one attempt each, and not the term: the next one is another.
func TestRenewalThatHangs(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := newWire()
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(15*time.Second))
	patient, l := trial.Win(t, b, "hangs/patient", "x"), trial.Win(t, b, "hangs/brisk", "x")
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
	trial.Beside(t, t.Context(), func(ctx context.Context) error { _, err := patient.Renew(ctx); return err })
	trial.Receive(t, "the first renewal", hung)
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
	w := newWire()
	var sent backend.Instant
	w.answer = func(req *http.Request) *http.Response {
		if strings.HasPrefix(req.URL.Path, "/v1/session/") { // is made, or renewed
			sent = backend.Now()
		}
		return nil
	}
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long))
	l := trial.Win(t, b, "sent", "x")
	if early := sent.Since(l.Grant().Sent); early < 0 {
		t.Errorf("the grant of the win counts from %v after the request was sent", -early)
	}
	began := backend.Now()
	g, err := l.Renew(trial.Within(t))
	if err != nil {
		t.Fatal(err)
	}
	if early, late := sent.Since(g.Sent), g.Sent.Since(began); early < 0 || late < 0 {
		t.Errorf("the grant of a renewal counts from %v before the request was sent, and %v after the call", early, late)
	}
}

// segment returns a key segment that no other test uses.
func segment(t testing.TB) string {
	return string(slices.DeleteFunc([]byte(t.Name()), func(c byte) bool { return c == '/' || c == ' ' }))
}
