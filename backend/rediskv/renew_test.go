package rediskv_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/rediskv"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// winAll wins so many elections on b, each with its key for a value.
func winAll(t testing.TB, b *rediskv.Backend, name string, n int) []backend.Lease {
	t.Helper()
	leases := make([]backend.Lease, n)
	for i := range leases {
		key := fmt.Sprintf("%s/%d", name, i)
		leases[i] = trial.Win(t, b, key, key)
	}
	return leases
}

// Renewals that come together go out together, and those that have done so before wait for each other: then all of them
// are one request.
func TestRenewalsShareARoundTrip(t *testing.T) {
	t.Parallel()
	var calls counter
	b := open(t, connect(t, servers.StartRedis(t, servers.RedisInMemory()).Endpoint(), calls.count), rediskv.WithTTL(6*time.Second))
	leases := winAll(t, b, "shared", 50)
	fewest := int64(len(leases))
	for turn := range 5 { // more than twice only where the machine is slow
		before, began := calls.sent.Load(), backend.Now()
		grants, errs := trial.Renewals(trial.Within(t), leases)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		for _, g := range grants {
			if turn > 0 && g != grants[0] {
				t.Errorf("renewals that came together count from %v apart", g.Sent.Since(grants[0].Sent))
			}
		}
		if fewest = min(fewest, calls.sent.Load()-before); fewest == 1 {
			return
		}
		<-time.After(b.TTL()*35/100 - backend.Now().Since(began)) // as an election does
	}
	t.Errorf("%d round trips for %d renewals", fewest, len(leases))
}

// What is won shortly after something else is renewed together with it from the first time on; and what is won later, for
// as long as if it had been alone.
func TestWinsShareARhythm(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t, servers.RedisInMemory()) // or its disk would be measured
	var trips []int64
	for range 5 { // more than once only where the machine is slow
		var calls counter
		b := open(t, connect(t, server.Endpoint(), calls.count), rediskv.WithTTL(6*time.Second))
		began := backend.Now()
		leases := winAll(t, b, fmt.Sprintf("wins/%d", len(trips)), 50)
		<-time.After(b.TTL()*35/100 - backend.Now().Since(leases[0].Grant().Sent)) // as an election does
		before := calls.sent.Load()
		if errs := trial.RenewAll(trial.Within(t), leases); errors.Join(errs...) != nil {
			t.Fatal(errs)
		}
		trips = append(trips, calls.sent.Load()-before)
		later := backend.Now()
		l := trial.Win(t, b, "wins/later", "x")
		if err := l.Resign(trial.Within(t)); err != nil {
			t.Fatal(err)
		}
		last := backend.Now()
		for _, l := range leases {
			if l.Grant().Sent.Since(began) < 0 {
				t.Fatalf("a win counts from %v before any", began.Since(l.Grant().Sent))
			}
		}
		if early := later.Since(l.Grant().Sent); early > b.TTL()/10 {
			t.Errorf("a win counts from %v before it", early)
		}
		<-time.After(b.TTL()/10 + 10*time.Millisecond - backend.Now().Since(last))
		alone := backend.Now()
		if early := alone.Since(trial.Win(t, b, fmt.Sprintf("wins/%d/alone", len(trips)), "x").Grant().Sent); early > 0 {
			t.Errorf("a win that is alone counts from %v before it", early)
		}
		if trips[len(trips)-1] == 1 {
			return
		}
	}
	t.Errorf("%v round trips for 50 renewals", trips)
}

// Elections that renew at different times find together, and from then on renew at once.
func TestRenewalsFindARhythm(t *testing.T) {
	t.Parallel()
	b := open(t, connect(t, servers.StartRedis(t).Endpoint()), rediskv.WithTTL(6*time.Second))
	leases := winAll(t, b, "rhythm", 2)
	latest := []backend.Grant{leases[0].Grant(), leases[1].Grant()}
	for turn := range 5 { // more than twice only where the machine is slow
		for i, l := range leases {
			interval := b.TTL() * 35 / 100 // as that of an election
			if turn == 0 && i == 1 {
				interval += interval / 3
			}
			<-time.After(interval - backend.Now().Since(latest[i].Sent))
			called := backend.Now()
			g, err := l.Renew(trial.Within(t))
			if err != nil {
				t.Fatal(err)
			}
			if g.Sent.Since(latest[i].Sent) <= 0 || g.Sent.Since(backend.Now()) > 0 {
				t.Errorf("a renewal that was called for at %v counts from %v, after %v", called, g.Sent, latest[i].Sent)
			}
			latest[i] = g
		}
		if latest[0] == latest[1] {
			return
		}
	}
	t.Error("two that renew amid the times of each other do not find together")
}

// A renewal that is asked for soon after the last one is answered by what was sent after that, and waits for nobody.
func TestRenewalOutOfRhythm(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t, servers.RedisInMemory()) // or its disk would be measured
	b := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long))
	leases := winAll(t, b, "soon", 2)
	quickest := time.Hour
	for turn := 0; turn < 20 && quickest > 50*time.Millisecond; turn++ { // more than once only where the machine is slow
		for same := false; !same; {
			grants, errs := trial.Renewals(trial.Within(t), leases)
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			same = grants[0] == grants[1] // they are expected together from now on
		}
		began := time.Now()
		if _, err := leases[0].Renew(trial.Within(t)); err != nil {
			t.Fatal(err)
		}
		quickest = min(quickest, time.Since(began))
	}
	if quickest > 50*time.Millisecond {
		t.Errorf("it took %v", quickest)
	}
	depose(t, connect(t, server.Endpoint()), "soon/1")
	_, err := leases[1].Renew(trial.Within(t))
	trial.MustBe(t, "Renew of the one that was deposed meanwhile", err, backend.ErrLost)
}

// What is wrong with one term is nothing to those that are renewed by the same script, however many that are.
func TestRenewalsAmongOthers(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t, servers.RedisInMemory()) // so that all are won before the first is over
	operator := connect(t, server.Endpoint())
	const n = 450 // scripts of 200 terms
	b := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(15*time.Second))
	leases := winAll(t, b, "among", n)
	if errs := trial.RenewAll(trial.Within(t), leases); errors.Join(errs...) != nil {
		t.Fatal(errors.Join(errs...))
	}
	server.Cli("script", "flush")
	for i := 7; i < n; i += 20 {
		server.Cli("hset", fmt.Sprintf("{among/%d}:lease", i), "candidacy", "999")
	}
	server.Cli("del", "{among/300}:lease")
	server.Cli("set", "{among/300}:lease", "theirs")
	began := backend.Now()
	errs := trial.RenewAll(trial.Within(t), leases)
	for i, err := range errs {
		switch {
		case i%20 == 7:
			trial.MustBe(t, fmt.Sprintf("Renew of %d", i), err, backend.ErrLost)
		case i == 300:
			mustRefuse(t, err, "in use by something else")
		default:
			if err != nil {
				t.Errorf("Renew of %d: %v", i, err)
			}
			// Each was prolonged, and not its neighbor instead of it.
			if left, err := operator.PTTL(trial.Within(t), fmt.Sprintf("{among/%d}:lease", i)).Result(); err != nil || left < b.TTL()-backend.Now().Since(began) {
				t.Errorf("%d has %v left, error %v", i, left, err)
			}
		}
	}
}

// Where keys of several elections cannot be in one script, each renewal is a script of its own: through a client that
// does not know that it talks to a cluster, too.
func TestRenewalsApart(t *testing.T) {
	t.Parallel()
	server := servers.StartRedisCluster(t)
	b := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long))
	leases := winAll(t, b, "apart", 50)
	var refusals [2]string
	for i := range refusals {
		for range 3 {
			if errs := trial.RenewAll(trial.Within(t), leases); errors.Join(errs...) != nil {
				t.Fatal(errs)
			}
		}
		refusals[i] = server.Cli("info", "errorstats")
	}
	if !strings.Contains(refusals[0], "CROSSSLOT") || refusals[1] != refusals[0] {
		t.Errorf("refused at first: %q, and later: %q", refusals[0], refusals[1])
	}
}
