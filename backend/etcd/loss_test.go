package etcd_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

const long = 60 * time.Second // a TTL that does not run out in a test

// The phantom leader of package concurrency (etcd-io/etcd#19597): the waiter's record goes, then the
// leader resigns. And the zombie (#22387): the record goes, and nothing else happens.
func TestWaitingCandidateLosesItsRecord(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	for i, tc := range []struct {
		name   string
		lose   func(t testing.TB, path string)
		resign bool // the leader, at the same time
	}{
		{"lease revoked", func(t testing.TB, path string) { revoke(t, operator, path) }, false},
		{"lease revoked as the leader resigns", func(t testing.TB, path string) { revoke(t, operator, path) }, true},
		{"record deleted", func(t testing.TB, path string) { remove(t, operator, path) }, false},
		{"record deleted as the leader resigns", func(t testing.TB, path string) { remove(t, operator, path) }, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			key := fmt.Sprintf("loss/%d", i)
			leader := trial.Win(t, open(t, connect(t, []string{server.Endpoint()}), etcd.WithTTL(long)), key, "leader")
			counter := countWatches()
			b := open(t, connect(t, []string{server.Endpoint()}, counter.count), etcd.WithTTL(long))
			waiting := trial.Campaign(t, t.Context(), b, key, "waiter")
			counter.watched(t, 1)
			paths := records(t, operator, key+"/", 2)
			tc.lose(t, paths[1])
			if tc.resign {
				if err := leader.Resign(trial.Within(t)); err != nil {
					t.Fatal(err)
				}
			}
			o := trial.Receive(t, "the end of the candidacy", waiting)
			if o.Lease != nil {
				t.Fatalf("won token %d with no record in the store: %v", o.Lease.Token(), records(t, operator, key+"/", 0))
			}
			trial.MustPass(t, "Campaign", o.Err)
			// The next candidacy is a new one, and the one that died is in nobody's way.
			again := trial.Campaign(t, t.Context(), b, key, "waiter")
			if !tc.resign {
				counter.watched(t, 1)
				if err := leader.Resign(trial.Within(t)); err != nil {
					t.Fatal(err)
				}
			}
			o = trial.Receive(t, "the next win", again)
			if o.Err != nil {
				t.Fatal(o.Err)
			}
			if o.Lease.Token() <= leader.Token() {
				t.Errorf("token %d after %d", o.Lease.Token(), leader.Token())
			}
			records(t, operator, key+"/", 1)
		})
	}
}

func TestLeaderLosesItsRecord(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	for i, tc := range []struct {
		name string
		lose func(t testing.TB, path string)
	}{
		{"lease revoked", func(t testing.TB, path string) { revoke(t, operator, path) }},
		{"record deleted", func(t testing.TB, path string) { remove(t, operator, path) }},
		{"record replaced", func(t testing.TB, path string) {
			remove(t, operator, path)
			if _, err := operator.Put(trial.Within(t), path, "usurper"); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		for _, op := range []struct {
			name string
			do   func(t testing.TB, l backend.Lease) error
		}{
			{"Renew", func(t testing.TB, l backend.Lease) error { _, err := l.Renew(trial.Within(t)); return err }},
			{"Proclaim", func(t testing.TB, l backend.Lease) error { return l.Proclaim(trial.Within(t), []byte("new")) }},
			{"Wait", func(t testing.TB, l backend.Lease) error { return l.Wait(trial.Within(t)) }},
		} {
			t.Run(tc.name+"/"+op.name, func(t *testing.T) {
				key := fmt.Sprintf("loss/%d/%s", i, op.name)
				b := open(t, connect(t, []string{server.Endpoint()}), etcd.WithTTL(long))
				l := trial.Win(t, b, key, "leader")
				waits := make(chan error, 1)
				go func() { waits <- l.Wait(trial.Within(t)) }()
				path := records(t, operator, key+"/", 1)[0]
				tc.lose(t, path)
				trial.MustBe(t, op.name, op.do(t, l), backend.ErrLost)
				trial.MustBe(t, "Wait begun before", trial.Receive(t, "Wait", waits), backend.ErrLost)
				trial.MustBe(t, "a second "+op.name, op.do(t, l), backend.ErrLost)
				if err := l.Resign(trial.Within(t)); err != nil {
					t.Errorf("Resign of a lost term: %v", err)
				}
				if tc.name == "record replaced" {
					if got := operatorGet(t, operator, path); got != "usurper" {
						t.Errorf("the record that replaced ours is %q", got)
					}
					return // it stands in the way for as long as it does
				}
				if next := trial.Win(t, b, key, "leader"); next.Token() <= l.Token() {
					t.Errorf("token %d after %d", next.Token(), l.Token())
				} else if err := next.Resign(trial.Within(t)); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A session is shared, and so is its lease; an election that lets its term run out must lose its key all
// the same.
func TestTermThatIsNotRenewedEndsOnASharedLease(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	b := open(t, connect(t, []string{server.Endpoint()}), etcd.WithTTL(4*time.Second))
	kept, dropped := trial.Win(t, b, "shared/kept", "x"), trial.Win(t, b, "shared/dropped", "x")
	keep := func() {
		t.Helper()
		trial.Insist(t, "Renew of the term that is renewed", func() error { _, err := kept.Renew(trial.Within(t)); return err })
	}
	other := open(t, connect(t, []string{server.Endpoint()}), etcd.WithTTL(long))
	next := trial.Campaign(t, t.Context(), other, "shared/dropped", "next")
	began := backend.Now()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case o := <-next:
			if o.Err != nil {
				t.Fatal(o.Err)
			}
			if g := dropped.Grant(); backend.Now().Since(g.Sent) < g.TTL {
				t.Errorf("the term ended %v after its grant, which was for %v", backend.Now().Since(g.Sent), g.TTL)
			}
			keep()
			_, err := dropped.Renew(trial.Within(t))
			trial.MustBe(t, "Renew of the term that ran out", err, backend.ErrLost)
			records(t, operator, "shared/kept/", 1)
			// The key is free for another candidacy, which queues anew.
			if err := o.Lease.Resign(trial.Within(t)); err != nil {
				t.Fatal(err)
			}
			if l := trial.Win(t, b, "shared/dropped", "y"); l.Token() <= o.Lease.Token() {
				t.Errorf("token %d after %d", l.Token(), o.Lease.Token())
			}
			return
		case <-tick.C:
			keep()
			if backend.Now().Since(began) > trial.Patience {
				t.Fatal("the term that nobody renews did not end")
			}
		}
	}
}

// A held key is busy for its own Backend until its term has run out, and no longer.
func TestTermThatRanOutIsNotBusy(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	b := open(t, connect(t, []string{server.Endpoint()}), etcd.WithTTL(2*time.Second))
	l := trial.Win(t, b, "lapsed", "x")
	for {
		age := backend.Now().Since(l.Grant().Sent)
		next, err := b.Campaign(trial.Within(t), "lapsed", []byte("y"))
		if errors.Is(err, backend.ErrBusy) {
			if age >= l.Grant().TTL {
				t.Fatalf("still busy %v after a grant for %v", age, l.Grant().TTL)
			}
			<-time.After(100 * time.Millisecond)
			continue
		}
		if err != nil && age < trial.Patience { // a request was not answered within its bound, which is short
			trial.MustPass(t, "Campaign", err)
			<-time.After(10 * time.Millisecond)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if next.Token() <= l.Token() {
			t.Errorf("token %d after %d", next.Token(), l.Token())
		}
		return
	}
}
