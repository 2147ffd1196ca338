package consul_test

import (
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/consul"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// A session on which nothing has happened for a while is heard of before somebody wins on it, so that a term does not begin with
// what is left of an old promise.
func TestAWinIsOnASessionThatWasHeardOf(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	b := open(t, connect(t, server.Endpoint()), consul.WithTTL(short))
	if err := trial.Win(t, b, "heard/of", "x").Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	<-time.After(short / 4)
	began := backend.Now()
	if early := began.Since(trial.Win(t, b, "heard/of", "y").Grant().Sent); early > 0 {
		t.Errorf("the grant counts from %v before the call", early)
	}
}

// A session that nobody stood on for a TTL is let go of, though Consul keeps it for longer.
func TestASessionThatWasLeftIsNotTakenUpAgain(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	b := open(t, connect(t, server.Endpoint()), consul.WithTTL(short))
	l := trial.Win(t, b, "left/alone", "x")
	id := holder(t, operator, "left/alone")
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	<-time.After(short + short/50)
	if n := len(sessions(t, operator)); n != 1 {
		t.Fatalf("%d sessions a TTL later, so that nothing is seen", n)
	}
	trial.Win(t, b, "left/alone", "y")
	if now := holder(t, operator, "left/alone"); now == id {
		t.Error("it is the session of before")
	}
	if n := b.Sessions(); n != 1 {
		t.Errorf("it remembers %d sessions", n)
	}
}

// Close ends a session that nobody stands on at once, and not with its TTL.
func TestCloseEndsASessionThatWasLeft(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	b := open(t, connect(t, server.Endpoint()), consul.WithTTL(long))
	if err := trial.Win(t, b, "close/left", "x").Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if left := sessions(t, connect(t, server.Endpoint())); len(left) > 0 {
		t.Errorf("%d sessions are left", len(left))
	}
}

// However long the lock-delay of another is, a candidate takes the key soon after it.
func TestALongLockDelay(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	const ours, delay = 700 * time.Millisecond, 5200 * time.Millisecond // with pauses ever twice as long, the next try would come after 10.5 s
	session, _, err := operator.Session().CreateNoChecks(&api.SessionEntry{TTL: "60s", LockDelay: delay}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ok, _, err := operator.KV().Acquire(&api.KVPair{Key: "long/delay", Session: session, Flags: api.LockFlagValue}, nil); !ok || err != nil {
		t.Fatalf("acquire: %v, error %v", ok, err)
	}
	w := newWire()
	next := trial.Campaign(t, t.Context(), open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long), consul.WithLockDelay(ours)), "long/delay", "x")
	w.asks(t, "long/delay")
	began := time.Now()
	destroy(t, operator, session)
	if o := trial.ReceiveWithin(t, "the win", next, delay+trial.Patience); o.Err != nil {
		t.Fatal(o.Err)
	}
	if took := time.Since(began); took < delay || took > delay+4*time.Second {
		t.Errorf("the win came after %v", took)
	}
}

// A term that is over by its own clock stays so, though Consul still holds its key, and another term has renewed the session
// meanwhile.
func TestATermThatIsOverIsNotPickedUpAgain(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	b := open(t, connect(t, server.Endpoint()), consul.WithTTL(short))
	kept, l := trial.Win(t, b, "over/kept", "x"), trial.Win(t, b, "over/key", "x")
	until := func(age time.Duration) {
		<-time.After(age - backend.Now().Since(l.Grant().Sent))
	}
	for _, age := range []time.Duration{short / 2, short * 19 / 20} { // the second is fresh for who renews after it
		until(age)
		trial.Insist(t, "Renew of another term", func() error { _, err := kept.Renew(trial.Within(t)); return err })
	}
	until(short + short/50)
	_, err := l.Renew(trial.Within(t))
	trial.MustBe(t, "Renew", err, backend.ErrLost)
	if left := keys(t, connect(t, server.Endpoint()), "over/key"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	trial.Insist(t, "Renew of another term", func() error { _, err := kept.Renew(trial.Within(t)); return err })
}
