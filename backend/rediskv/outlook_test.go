package rediskv_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/rediskv"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// hold renews l as an election does, so many times, and returns the latest Grant.
func hold(t testing.TB, l backend.Lease, times int) (g backend.Grant) {
	t.Helper()
	g = l.Grant()
	for range times {
		<-time.After(g.TTL*35/100 - backend.Now().Since(g.Sent))
		var err error
		if g, err = l.Renew(trial.Within(t)); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// mustFollow has who waits win when the lease ends that was granted last, soon after, and has that observed.
func mustFollow(t testing.TB, g backend.Grant, waiting <-chan trial.Outcome, leaders <-chan backend.Leader) {
	t.Helper()
	o := trial.Receive(t, "the win", waiting)
	if o.Err != nil {
		t.Fatal(o.Err)
	}
	if took := o.Lease.Grant().Sent.Since(g.Sent); took < g.TTL || took > g.TTL*3/2 {
		t.Errorf("it was won after %v, with a TTL of %v", took, g.TTL)
	}
	for got := (backend.Leader{}); got.Token != o.Lease.Token(); {
		got = trial.Receive(t, "the next leader", leaders)
	}
}

// Who waits or observes makes no request while the leader renews, and looks when the lease ends that was renewed last.
func TestNobodyLooksWhileTheLeaderRenews(t *testing.T) {
	t.Parallel()
	const ttl = 4 * time.Second
	server := servers.StartRedis(t)
	operator := connect(t, server.Endpoint())
	var calls counter
	leader := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(ttl), rediskv.WithName("a name/with spaces"))
	follower := open(t, connect(t, server.Endpoint(), calls.count), rediskv.WithTTL(ttl))
	observer := open(t, connect(t, server.Endpoint(), calls.count), rediskv.WithTTL(ttl))
	l := trial.Win(t, leader, "calm", "x")
	waiting := trial.Campaign(t, t.Context(), follower, "calm", "y")
	leaders := watch(t, observer, "calm")
	if got := trial.Receive(t, "the leader", leaders); got.Token != l.Token() {
		t.Errorf("observed %v", got)
	}
	listeners(t, operator, "calm", 2)
	for turn := 0; ; turn++ { // more than once only where the machine is slow
		hold(t, l, 1) // and until all have looked
		before := calls.sent.Load()
		hold(t, l, 9) // three TTLs
		if n := calls.sent.Load() - before; n == 0 {
			break
		} else if turn == 3 {
			t.Errorf("%d requests of who waits and observes while the leader renewed", n)
			break
		}
	}
	mustFollow(t, hold(t, l, 1), waiting, leaders)
}

// What a leader of an earlier version does, which does not tell that it renews, is seen by looking.
func TestRenewedInSilence(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	server := servers.StartRedis(t)
	operator := connect(t, server.Endpoint())
	a, b := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(ttl)), open(t, connect(t, server.Endpoint()), rediskv.WithTTL(ttl))
	trial.Win(t, a, "old", "x")
	waiting := trial.Campaign(t, t.Context(), b, "old", "y")
	listeners(t, operator, "old", 1)
	last := backend.Now()
	for range 6 {
		<-time.After(ttl / 3)
		last = backend.Now()
		if there, err := operator.PExpire(trial.Within(t), "{old}:lease", ttl).Result(); err != nil || !there {
			t.Fatalf("renewing: %v, error %v", there, err)
		}
	}
	o := trial.Receive(t, "the win", waiting)
	if o.Err != nil {
		t.Fatal(o.Err)
	}
	if took := o.Lease.Grant().Sent.Since(last); took < ttl || took > ttl+trial.Patience/2 {
		t.Errorf("it was won %v after the last renewal, with a TTL of %v", took, ttl)
	}
}

// A renewal that is told late lengthens nothing: it moves the end that was known by what the lease lacked then.
func TestToldLate(t *testing.T) {
	t.Parallel()
	const ttl = 4 * time.Second
	server := servers.StartRedis(t)
	operator := connect(t, server.Endpoint())
	a, b := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(ttl)), open(t, connect(t, server.Endpoint()), rediskv.WithTTL(ttl))
	l := trial.Win(t, a, "late", "x")
	waiting := trial.Campaign(t, t.Context(), b, "late", "y")
	listeners(t, operator, "late", 1)
	leaders := watch(t, b, "late")
	trial.Receive(t, "the leader", leaders)
	<-time.After(ttl*3/4 - backend.Now().Since(l.Grant().Sent))
	// As if it had been renewed when it was won, and that was told only now.
	holder := operator.HGet(trial.Within(t), "{late}:lease", "holder").Val()
	message := fmt.Sprintf("won %d %d %d %s", l.Token(), ttl.Milliseconds(), ttl.Milliseconds(), holder)
	if err := operator.Publish(trial.Within(t), "{late}:events", message).Err(); err != nil {
		t.Fatal(err)
	}
	mustFollow(t, l.Grant(), waiting, leaders)
}

// Messages cannot keep anybody from looking for ever.
func TestToldForEver(t *testing.T) {
	t.Parallel()
	const ttl = 600 * time.Millisecond
	server := servers.StartRedis(t)
	operator := connect(t, server.Endpoint())
	a, b := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(ttl)), open(t, connect(t, server.Endpoint()), rediskv.WithTTL(ttl))
	for key, message := range map[string]string{"liar": "won %d 86400000 %.0s", "liar/too": "won %d 86400000 0 %s"} {
		l := persist(t, a, key, "x")
		message = fmt.Sprintf(message, l.Token(), operator.HGet(trial.Within(t), "{"+key+"}:lease", "holder").Val())
		waiting := trial.Candidate(t, t.Context(), b, key, "y")
		again := time.NewTicker(ttl / 10)
		defer again.Stop()
		for won := false; !won; {
			select {
			case o := <-waiting:
				if won = true; o.Err != nil {
					t.Error(o.Err)
				}
			case <-again.C:
				if err := operator.Publish(trial.Within(t), "{"+key+"}:events", message).Err(); err != nil {
					t.Fatal(err)
				}
				if backend.Now().Since(l.Grant().Sent) > trial.Patience {
					t.Fatal("nobody looks")
				}
			}
		}
	}
}

// A leader who may not publish any more leads on.
func TestRenewalsThatCannotBeTold(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	grant(server, "muted", append(candidateRights(), "~{muted}:*", "resetchannels", "&{muted}:events")...)
	l := trial.Win(t, open(t, login(t, server, "muted", "s3cret-muted")), "muted", "x")
	server.Cli("acl", "setuser", "muted", "-publish")
	if _, err := l.Renew(trial.Within(t)); err != nil {
		t.Error(err)
	}
	trial.MustBe(t, "Proclaim", l.Proclaim(trial.Within(t), nil), backend.ErrDenied)
}

// Channels are those of all databases of a server: what is told of an election of the same name in another one keeps
// nobody from looking.
func TestOtherDatabase(t *testing.T) {
	t.Parallel()
	const ttl = 4 * time.Second
	server := servers.StartRedis(t)
	elsewhere := func(o *redis.Options) { o.DB = 1 }
	here, there := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(ttl)), open(t, connect(t, server.Endpoint(), elsewhere), rediskv.WithTTL(ttl))
	next := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(ttl), rediskv.WithName("next/name with spaces"))
	other, l := trial.Win(t, there, "twice", "x"), trial.Win(t, here, "twice", "x")
	if other.Token() != l.Token() {
		t.Fatalf("tokens %d and %d are to be the same", other.Token(), l.Token())
	}
	waiting := trial.Campaign(t, t.Context(), next, "twice", "y")
	leaders := watch(t, next, "twice")
	listeners(t, connect(t, server.Endpoint()), "twice", 1)
	hold(t, other, 6) // two TTLs
	mustFollow(t, l.Grant(), waiting, leaders)
}
