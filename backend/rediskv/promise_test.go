package rediskv_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/rediskv"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// A win whose answer comes late does not count from what was sent after it, though others keep that rhythm.
func TestGrantsOfAnswersThatWereOvertaken(t *testing.T) {
	t.Parallel()
	const ttl = 6 * time.Second
	client := connect(t, servers.StartRedis(t).Endpoint())
	h := newHolding("evalsha")
	client.AddHook(h)
	b := open(t, client, rediskv.WithTTL(ttl))
	trial.Win(t, b, "overtaken/first", "x") // the server knows the script
	<-time.After(ttl/10 + 10*time.Millisecond)
	h.on.Store(true)
	slow := trial.Campaign(t, t.Context(), b, "overtaken/slow", "x")
	trial.Receive(t, "the slow answer", h.answered)
	h.on.Store(false)
	later := backend.Now()
	trial.Win(t, b, "overtaken/fast", "x")
	h.release <- struct{}{}
	o := trial.Receive(t, "the slow win", slow)
	if o.Err != nil {
		t.Fatal(o.Err)
	}
	if ahead := o.Lease.Grant().Sent.Since(later); ahead > 0 {
		t.Errorf("the grant counts from %v after it was sent", ahead)
	}
}

// A session that stands back does so until the leader's lease must be over, which may be longer than its own.
func TestStandsBackForTheLeadersTTL(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	server.Cli("set", "{long}:fence", "10")
	old := trial.Win(t, open(t, connect(t, server.Endpoint()), rediskv.WithTTL(4*time.Second)), "long", "old")
	follower := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(time.Second))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	waiting := trial.Candidate(t, ctx, follower, "long", "new")
	listeners(t, connect(t, server.Endpoint()), "long", 1)
	cancel()
	trial.MustBe(t, "the waiting campaign", trial.Receive(t, "the end", waiting).Err, context.Canceled)
	server.Cli("flushall")
	next := persist(t, follower, "long", "new")
	if g := old.Grant(); next.Grant().Sent.Since(g.Sent) < g.TTL {
		t.Errorf("won %v after a grant of %v", next.Grant().Sent.Since(g.Sent), g.TTL)
	}
	if next.Token() <= old.Token() {
		t.Errorf("token %d after %d", next.Token(), old.Token())
	}
}

// What one observer of a session has seen, the next one does not go back behind.
func TestSecondObserverOfLostData(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	server.Cli("set", "{again}:fence", "10")
	b := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long))
	trial.Win(t, open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long)), "again", "x")
	for l, err := range b.Observe(trial.Within(t), "again") {
		if err != nil || l.Token != 11 {
			t.Fatalf("observed %v, error %v", l, err)
		}
		break
	}
	server.Cli("flushall")
	trial.Win(t, open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long)), "again", "y")
	for l, err := range b.Observe(trial.Within(t), "again") {
		if err == nil {
			t.Errorf("observed token %d after 11", l.Token)
			break
		}
		trial.MustBe(t, "Observe", err, rediskv.ErrDataLost)
	}
}

// A term that was given up is not renewed, also when the store was never told.
func TestGivenUpTermIsNotRenewed(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	operator := connect(t, server.Endpoint())
	client := connect(t, server.Endpoint())
	h := newHolding("evalsha")
	h.unsent = true
	client.AddHook(h)
	b := open(t, client, rediskv.WithTTL(long))
	l := trial.Win(t, b, "given/up", "x")
	h.on.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	resigned := trial.Beside(t, ctx, l.Resign)
	trial.Receive(t, "the release", h.answered)
	h.on.Store(false)
	cancel()
	trial.MustBe(t, "Resign", trial.Receive(t, "the end of Resign", resigned), context.Canceled)
	_, err := l.Renew(trial.Within(t))
	trial.MustBe(t, "Renew of a term that was given up", err, backend.ErrLost)
	if n := operator.Exists(trial.Within(t), "{given/up}:lease").Val(); n != 0 {
		t.Error("its record stands")
	}
	h.release <- struct{}{}
}

// A name is for people: two sessions that share one are two.
func TestSameNameIsNotTheSameSession(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	named := func() *rediskv.Backend {
		return open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long), rediskv.WithName("host-1"))
	}
	first := trial.Win(t, named(), "name", "first")
	waiting := trial.Campaign(t, t.Context(), named(), "name", "second")
	servers.Await(t, "the second to wait", func(ctx context.Context) error {
		select {
		case o := <-waiting:
			t.Fatalf("it has won while the first leads: %+v", o)
		default:
		}
		if n := connect(t, server.Endpoint()).PubSubNumSub(ctx, "{name}:events").Val()["{name}:events"]; n != 1 {
			return errors.New("nobody listens")
		}
		return nil
	})
	if err := first.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	if o := trial.Receive(t, "the win", waiting); o.Err != nil || o.Lease.Token() <= first.Token() {
		t.Errorf("%+v after token %d", o, first.Token())
	}
}

// A release between the first try and the subscription, which nobody hears, costs no time.
func TestReleaseBeforeAnybodyListens(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	guard := trial.Win(t, open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long)), "between", "guard")
	client := connect(t, server.Endpoint())
	h := newHolding("evalsha")
	client.AddHook(h)
	b := open(t, client, rediskv.WithTTL(long)) // requests are bounded by 5 s
	h.on.Store(true)
	waiting := trial.Campaign(t, t.Context(), b, "between", "x")
	trial.Receive(t, "the answer to the first try", h.answered)
	h.on.Store(false)
	if err := guard.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	h.release <- struct{}{}
	if o := trial.Receive(t, "the win", waiting); o.Err != nil {
		t.Fatal(o.Err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
}
