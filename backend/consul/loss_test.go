package consul_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/consul"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// Whatever an operator does to the record, the leader is told by the store's own word, nothing is left of
// the term, and what others hold is not touched.
func TestLeaderLosesItsRecord(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	session, _, err := operator.Session().CreateNoChecks(&api.SessionEntry{TTL: "60s"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	unlock := func(t testing.TB, key string) {
		pair := &api.KVPair{Key: key, Session: holder(t, operator, key), Flags: api.LockFlagValue}
		if ok, _, err := operator.KV().Release(pair, nil); !ok || err != nil {
			t.Fatalf("unlock: %v, error %v", ok, err)
		}
	}
	for i, tc := range []struct {
		name string
		told bool // by the key itself, so that Wait notices
		lose func(t testing.TB, key string)
	}{
		{"session destroyed", true, func(t testing.TB, key string) { destroy(t, operator, holder(t, operator, key)) }},
		{"key deleted", true, func(t testing.TB, key string) { remove(t, operator, key) }},
		{"key unlocked", true, unlock},
		{"key taken", true, func(t testing.TB, key string) {
			unlock(t, key)
			if ok, _, err := operator.KV().Acquire(&api.KVPair{Key: key, Value: []byte("usurper"), Session: session, Flags: api.LockFlagValue}, nil); !ok || err != nil {
				t.Fatalf("acquire: %v, error %v", ok, err)
			}
		}},
		{"sibling deleted", false, func(t testing.TB, key string) { remove(t, operator, key+"~term") }},
		{"sibling written", false, func(t testing.TB, key string) {
			if _, err := operator.KV().Put(&api.KVPair{Key: key + "~term", Value: []byte("garbage")}, nil); err != nil {
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
				b := open(t, connect(t, server.Endpoint()), consul.WithTTL(long), consul.WithLockDelay(0))
				l, other := trial.Win(t, b, key, "leader"), trial.Win(t, b, key+"/other", "leader")
				var waits <-chan error
				if tc.told {
					waits = trial.Beside(t, trial.Within(t), l.Wait)
				}
				tc.lose(t, key)
				trial.MustBe(t, op.name, op.do(t, l), backend.ErrLost)
				if tc.told {
					trial.MustBe(t, "Wait begun before", trial.Receive(t, "Wait", waits), backend.ErrLost)
				}
				trial.MustBe(t, "a second "+op.name, op.do(t, l), backend.ErrLost)
				if err := l.Resign(trial.Within(t)); err != nil {
					t.Errorf("Resign of a lost term: %v", err)
				}
				if tc.name == "key taken" {
					if pair := entry(t, operator, key); string(pair.Value) != "usurper" || pair.Session != session {
						t.Errorf("what was taken from us became %+v", pair)
					}
					remove(t, operator, key)
				}
				if tc.name != "session destroyed" {
					if _, err := other.Renew(trial.Within(t)); err != nil {
						t.Errorf("another term of the session: %v", err)
					}
				}
				next := trial.Win(t, b, key, "leader")
				if next.Token() <= l.Token() {
					t.Errorf("token %d after %d", next.Token(), l.Token())
				}
				for _, l := range []backend.Lease{next, other} {
					if err := l.Resign(trial.Within(t)); err != nil {
						t.Error(err)
					}
				}
				if left := keys(t, operator, key); len(left) > 0 {
					t.Errorf("left behind: %q", left)
				}
			})
		}
	}
}

// An operator who deletes the key leaves the sibling in the hands of a leader that does not know yet. It is
// not in the next one's way, and what the old one then gives up is its own.
func TestSiblingOfADeposedLeaderIsInNobodysWay(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	old := trial.Win(t, open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), "deposed", "old")
	remove(t, operator, "deposed")
	next := trial.Win(t, open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), "deposed", "next")
	if next.Token() <= old.Token() {
		t.Errorf("token %d after %d", next.Token(), old.Token())
	}
	if err := old.Resign(trial.Within(t)); err != nil {
		t.Error(err)
	}
	if _, err := next.Renew(trial.Within(t)); err != nil {
		t.Errorf("after the late Resign: %v", err)
	}
}

// A plain write by hand changes what is announced and the flags, and not who leads under which token.
func TestPlainWriteToTheKeyChangesNoToken(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	b := open(t, connect(t, server.Endpoint()), consul.WithTTL(long))
	w := countWaits()
	l := trial.Win(t, b, "plain", "leader")
	waiting := trial.Campaign(t, t.Context(), open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long)), "plain", "next")
	w.waits(t, 1)
	see := func(value string, token uint64) {
		t.Helper()
		for leader, err := range b.Observe(trial.Within(t), "plain") {
			if err != nil || string(leader.Value) != value || leader.Token != token {
				t.Errorf("observed %q with token %d, error %v; want %q, %d", leader.Value, leader.Token, err, value, token)
			}
			break
		}
	}
	if _, err := operator.KV().Put(&api.KVPair{Key: "plain", Value: []byte("graffiti")}, nil); err != nil {
		t.Fatal(err)
	}
	if pair := entry(t, operator, "plain"); pair.LockIndex != 0 || pair.Session == "" {
		t.Fatalf("a plain write makes %+v; it was expected to reset the LockIndex alone", pair)
	}
	see("graffiti", l.Token())
	if _, err := l.Renew(trial.Within(t)); err != nil {
		t.Errorf("Renew: %v", err)
	}
	if err := l.Proclaim(trial.Within(t), []byte("leader")); err != nil {
		t.Errorf("Proclaim: %v", err)
	}
	see("leader", l.Token())
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	o := trial.Receive(t, "the next win", waiting)
	if o.Err != nil {
		t.Fatal(o.Err)
	}
	if o.Lease.Token() <= l.Token() {
		t.Errorf("token %d after %d", o.Lease.Token(), l.Token())
	}
}

// A candidate whose session goes while it waits ends with a passing error, at its next renewal.
func TestWaitingCandidateLosesItsSession(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	trial.Win(t, open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), "wait", "leader")
	w := countWaits()
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(short), consul.WithName("waiter"))
	waiting := trial.Campaign(t, t.Context(), b, "wait", "waiter")
	w.waits(t, 1)
	for _, s := range sessions(t, operator) {
		if s.Name == "waiter" {
			destroy(t, operator, s.ID)
		}
	}
	err := trial.Receive(t, "the end of the candidacy", waiting).Err
	trial.MustPass(t, "Campaign", err)
	trial.Win(t, b, "wait/2", "with another session")
}

// Whoever finds that the session is gone tells all who wait on it, before their own next renewal would.
func TestLostSessionIsToldToAllWhoWait(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	trial.Win(t, open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), "told/waiting", "leader")
	w := countWaits()
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long))
	l := trial.Win(t, b, "told/held", "x")
	waiting := trial.Campaign(t, t.Context(), b, "told/waiting", "x")
	w.waits(t, 1)
	destroy(t, operator, holder(t, operator, "told/held"))
	_, err := l.Renew(trial.Within(t))
	trial.MustBe(t, "Renew", err, backend.ErrLost)
	trial.MustPass(t, "Campaign", trial.ReceiveWithin(t, "the end of the candidacy", waiting, 5*time.Second).Err)
}

// A session that is gone when a campaign first uses it costs the campaign nothing.
func TestSessionThatIsGoneIsReplaced(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	b := open(t, connect(t, server.Endpoint()), consul.WithTTL(long))
	l := trial.Win(t, b, "replaced", "x")
	id := holder(t, operator, "replaced")
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	destroy(t, operator, id)
	trial.Win(t, b, "replaced", "y")
	if now := holder(t, operator, "replaced"); now == id {
		t.Errorf("held by the session %s that was destroyed", now)
	}
}

// After a session was destroyed, nobody takes the key for the lock-delay that was asked for, and who waits
// takes it soon after. After a resignation there is none.
func TestLockDelay(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	for _, delay := range []time.Duration{0, 100 * time.Millisecond, 3 * time.Second} {
		key := fmt.Sprintf("delay/%v", delay)
		a := open(t, connect(t, server.Endpoint()), consul.WithTTL(long), consul.WithLockDelay(delay))
		w := countWaits()
		b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long), consul.WithLockDelay(delay))
		old := trial.Win(t, a, key, "a")
		waiting := trial.Campaign(t, t.Context(), b, key, "b")
		w.waits(t, 1)
		began := time.Now()
		destroy(t, operator, holder(t, operator, key))
		o := trial.Receive(t, "the next win", waiting)
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		if took := time.Since(began); took < delay || took > delay+2*time.Second {
			t.Errorf("lock-delay %v: the next win came after %v", delay, took)
		}
		_, err := old.Renew(trial.Within(t))
		trial.MustBe(t, "Renew", err, backend.ErrLost)
		again := trial.Campaign(t, t.Context(), a, key, "a")
		began = time.Now()
		if err := o.Lease.Resign(trial.Within(t)); err != nil {
			t.Fatal(err)
		}
		if o = trial.Receive(t, "the win after a resignation", again); o.Err != nil {
			t.Fatal(o.Err)
		}
		if took := time.Since(began); took >= delay && delay > time.Second { // a shorter one is not told from a slow machine
			t.Errorf("lock-delay %v: a resignation handed over after %v", delay, took)
		}
	}
}

// A session is shared; an election that lets its term run out must lose its key all the same.
func TestTermThatIsNotRenewedEndsOnASharedSession(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	b := open(t, connect(t, server.Endpoint()), consul.WithTTL(short))
	kept, dropped := trial.Win(t, b, "shared/kept", "x"), trial.Win(t, b, "shared/dropped", "x")
	if _, err := b.Campaign(trial.Within(t), "shared/dropped", nil); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("Campaign for a key that is held: %v", err)
	}
	next := trial.Campaign(t, t.Context(), open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), "shared/dropped", "next")
	keep := func() {
		t.Helper()
		trial.Insist(t, "Renew of the term that is renewed", func() error { _, err := kept.Renew(trial.Within(t)); return err })
	}
	ctx := trial.Within(t)
	tick := time.NewTicker(time.Second)
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
			_, err := dropped.Renew(trial.Within(t))
			trial.MustBe(t, "Renew of the term that ran out", err, backend.ErrLost)
			keep()
			// The key is free for another candidacy, which begins a term of its own.
			if err := o.Lease.Resign(trial.Within(t)); err != nil {
				t.Fatal(err)
			}
			if l := trial.Win(t, b, "shared/dropped", "y"); l.Token() <= o.Lease.Token() {
				t.Errorf("token %d after %d", l.Token(), o.Lease.Token())
			}
			return
		case <-tick.C:
			keep()
		case <-ctx.Done():
			t.Fatal("the term that nobody renews did not end")
		}
	}
}

// Wait and another call may find the loss at the same moment, and both give up what is left of the term.
func TestTwoCallsFindTheLossAtOnce(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	b := open(t, connect(t, server.Endpoint()), consul.WithTTL(long), consul.WithLockDelay(0))
	for i := range 40 {
		key := fmt.Sprintf("twice/%d", i)
		l := trial.Win(t, b, key, "leader")
		waits := trial.Beside(t, trial.Within(t), l.Wait)
		remove(t, operator, key) // the sibling is left
		trial.MustBe(t, "Proclaim", l.Proclaim(trial.Within(t), []byte("new")), backend.ErrLost)
		trial.MustBe(t, "Wait", trial.Receive(t, "Wait", waits), backend.ErrLost)
	}
}
