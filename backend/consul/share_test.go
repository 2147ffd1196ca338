package consul_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/consul"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// All elections of a Backend share the renewal of its session.
func TestRenewalsShareOneRequest(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := newWire()
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long))
	const n = 50
	leases := make([]backend.Lease, n)
	for i := range leases {
		leases[i] = trial.Win(t, b, fmt.Sprintf("share/%d", i), "x")
	}
	before := w.renewals.Load()
	var renewals sync.WaitGroup
	for _, l := range leases {
		renewals.Go(func() {
			if _, err := l.Renew(trial.Within(t)); err != nil {
				t.Error(err)
			}
		})
	}
	renewals.Wait()
	if got := w.renewals.Load() - before; got != 1 {
		t.Errorf("%d Renews at once renewed the session %d times, want once", n, got)
	}
	before = w.renewals.Load()
	for _, l := range leases {
		sent := backend.Now()
		g, err := l.Renew(trial.Within(t))
		if err != nil {
			t.Fatal(err)
		}
		if sent.Since(g.Sent) > b.TTL()/5 || g.TTL != b.TTL() {
			t.Errorf("the grant is of %v, and counts from %v ago", g.TTL, sent.Since(g.Sent))
		}
	}
	if got := w.renewals.Load() - before; got != 1 {
		t.Errorf("%d Renews in turn renewed the session %d times, want once", n, got)
	}
	// One election alone gets a newer grant with each renewal.
	g1, err1 := leases[0].Renew(trial.Within(t))
	g2, err2 := leases[0].Renew(trial.Within(t))
	if err := errors.Join(err1, err2); err != nil || g2.Sent.Since(g1.Sent) <= 0 {
		t.Errorf("a second renewal moved the grant by %v, error %v", g2.Sent.Since(g1.Sent), err)
	}
	if got := len(sessions(t, connect(t, server.Endpoint()))); got != 1 {
		t.Errorf("%d sessions for one Backend", got)
	}
}

// A Backend on which nothing stands sends nothing. One whose candidates wait renews three times in a TTL,
// however many they are, and asks once in a TTL for each key.
func TestRequestsAtRest(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	idle, busy := newWire(), countWaits()
	if err := trial.Win(t, open(t, connectBy(t, idle, server.Endpoint()), consul.WithTTL(short)), "rest/idle", "x").Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	leader := open(t, connect(t, server.Endpoint()), consul.WithTTL(long))
	b := open(t, connectBy(t, busy, server.Endpoint()), consul.WithTTL(short))
	const n = 3
	for i := range n {
		key := fmt.Sprintf("rest/busy/%d", i)
		trial.Win(t, leader, key, "x")
		trial.Campaign(t, t.Context(), b, key, "y")
	}
	busy.waits(t, n)
	idleBefore, allBefore, renewalsBefore := idle.all.Load(), busy.all.Load(), busy.renewals.Load()
	const ttls = 2
	<-time.After(ttls * short)
	if got := idle.all.Load() - idleBefore; got != 0 {
		t.Errorf("a Backend on which nothing stands made %d requests", got)
	}
	renewals := busy.renewals.Load() - renewalsBefore
	if renewals < 3*ttls-1 || renewals > 3*ttls+1 {
		t.Errorf("%d renewals in %d TTLs, want about three per TTL", renewals, ttls)
	}
	if rest := busy.all.Load() - allBefore - renewals; rest > n*ttls {
		t.Errorf("%d requests besides the renewals in %d TTLs with %d candidates, want one each per TTL at most", rest, ttls, n)
	}
}

// Candidates that use api.Lock and ours stand for one key: never two lead, and all come to lead.
func TestMixedWithAPILock(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	const key, n, rounds = "mixed/key", 8, 3
	var leading atomic.Int32
	var ours, theirs atomic.Int32
	lead := func(count *atomic.Int32) {
		if leading.Add(1) != 1 {
			t.Error("two lead at once")
		}
		count.Add(1)
		<-time.After(5 * time.Millisecond) // long enough for another to be seen beside it
		leading.Add(-1)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var all sync.WaitGroup
	for i := range n {
		client := connect(t, server.Endpoint())
		if i%2 == 0 {
			b := open(t, client, consul.WithTTL(long))
			all.Go(func() {
				var last uint64
				for range rounds {
					l, err := b.Campaign(ctx, key, []byte("ours"))
					if err != nil {
						t.Error(err)
						return
					}
					if l.Token() <= last {
						t.Errorf("token %d after %d", l.Token(), last)
					}
					last = l.Token()
					lead(&ours)
					if _, err := l.Renew(ctx); err != nil {
						t.Errorf("Renew beside native candidates: %v", err)
					}
					if err := l.Resign(ctx); err != nil {
						t.Error(err)
					}
				}
			})
			continue
		}
		all.Go(func() {
			for range rounds {
				lock, err := client.LockOpts(&api.LockOptions{Key: key, Value: []byte("theirs"), SessionTTL: "60s", LockDelay: time.Millisecond})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := lock.Lock(ctx.Done()); err != nil {
					t.Error(err)
					return
				}
				lead(&theirs)
				if err := lock.Unlock(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if ours.Load() != n/2*rounds || theirs.Load() != n/2*rounds {
		t.Errorf("ours led %d times, theirs %d times", ours.Load(), theirs.Load())
	}
}

// The consul lock command waits for our leader, and our candidate for the command.
func TestMixedWithConsulLock(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	w := countWaits()
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long))
	l := trial.Win(t, b, "cli/.lock", "ours")
	on := filepath.Join(t.TempDir(), "on") // it leads until there is such a file
	command := trial.Beside(t, t.Context(), func(context.Context) string {
		return server.Ctl("lock", "cli", "echo led; while [ ! -e '"+on+"' ]; do sleep 0.05; done")
	})
	servers.Await(t, "the command's session", func(context.Context) error {
		if n := len(sessions(t, operator)); n != 2 {
			return fmt.Errorf("%d sessions", n)
		}
		return nil
	})
	select {
	case out := <-command:
		t.Fatalf("the command led beside ours: %q", out)
	case <-time.After(500 * time.Millisecond):
	}
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	servers.Await(t, "the command to lead", func(context.Context) error {
		if pair := entry(t, operator, "cli/.lock"); pair == nil || pair.Session == "" {
			return errors.New("it does not yet")
		}
		return nil
	})
	next := trial.Campaign(t, t.Context(), b, "cli/.lock", "ours")
	w.waits(t, 1)
	select {
	case o := <-next:
		t.Fatalf("ours led beside the command: %+v", o)
	default:
	}
	if err := os.WriteFile(on, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := trial.Receive(t, "the command", command); out != "led\n" {
		t.Errorf("the command printed %q", out)
	}
	if o := trial.Receive(t, "our win", next); o.Err != nil {
		t.Fatal(o.Err)
	}
}

// What api.Lock announces is observed with a token between those of the terms around it, and its terms are
// told from each other.
func TestObservedAcross(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	client := connect(t, server.Endpoint())
	b := open(t, client, consul.WithTTL(long))
	seen := make(chan backend.Leader, 64)
	trial.Beside(t, t.Context(), func(ctx context.Context) error {
		for leader, err := range b.Observe(ctx, "across") {
			if err != nil {
				return err
			}
			seen <- leader
		}
		return nil
	})
	until := func(value string) backend.Leader {
		t.Helper()
		for {
			if l := trial.Receive(t, "the leader "+value, seen); string(l.Value) == value {
				return l
			}
		}
	}
	var tokens []uint64
	lead := func(value string, native bool) {
		t.Helper()
		if !native {
			l := trial.Win(t, b, "across", value)
			if token := until(value).Token; token != l.Token() {
				t.Errorf("observed token %d, want %d", token, l.Token())
			}
			tokens = append(tokens, l.Token())
			if err := l.Resign(trial.Within(t)); err != nil {
				t.Fatal(err)
			}
			return
		}
		lock, err := client.LockOpts(&api.LockOptions{Key: "across", Value: []byte(value)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lock.Lock(t.Context().Done()); err != nil {
			t.Fatal(err)
		}
		first := until(value).Token
		tokens = append(tokens, first)
		for leader, err := range b.Observe(trial.Within(t), "across") { // another observer, later
			if err != nil || leader.Token != first {
				t.Errorf("a later observer sees token %d, error %v, the first saw %d", leader.Token, err, first)
			}
			break
		}
		if err := lock.Unlock(); err != nil {
			t.Fatal(err)
		}
	}
	lead("ours", false)
	lead("theirs", true)
	lead("theirs again", true)
	lead("ours again", false)
	for i := range tokens[1:] {
		if tokens[i+1] <= tokens[i] {
			t.Errorf("tokens %v, must grow", tokens)
		}
	}
}

// Close destroys the session when nobody holds a key, and else with the last who does.
func TestCloseEndsTheSession(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	guard := trial.Win(t, open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), "close/waiting", "guard")
	w := countWaits()
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long))
	l := trial.Win(t, b, "close/held", "x")
	waits := trial.Beside(t, t.Context(), l.Wait)
	waiting := trial.Campaign(t, t.Context(), b, "close/waiting", "x")
	w.waits(t, 2)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	trial.MustBe(t, "a waiting Campaign", trial.Receive(t, "its end", waiting).Err, backend.ErrClosed)
	trial.MustBe(t, "Wait", trial.Receive(t, "its end", waits), backend.ErrClosed)
	if _, err := l.Renew(trial.Within(t)); err != nil {
		t.Errorf("Renew after Close: %v", err)
	}
	if got := len(sessions(t, operator)); got != 2 {
		t.Errorf("%d sessions while a key is held, want 2", got)
	}
	for i, l := range []backend.Lease{l, guard} {
		if err := l.Resign(trial.Within(t)); err != nil {
			t.Fatal(err)
		}
		if got := len(sessions(t, operator)); got != 1 {
			t.Errorf("%d sessions after Resign %d, want 1: the one that is not closed", got, i)
		}
	}
	if left := keys(t, operator, ""); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
