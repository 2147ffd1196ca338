package rediskv_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/rediskv"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// A process that stands for many elections begins and ends with few round trips and connections; and what is wrong with one
// election is nothing to the others.
func TestManyBeginAndEndTogether(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	operator := connect(t, server.Endpoint())
	var calls counter
	client := connect(t, server.Endpoint(), calls.count, func(o *redis.Options) { o.ClientName = "many" })
	h := newHolding("evalsha")
	client.AddHook(h)
	b := open(t, client, rediskv.WithTTL(long))
	const n = 300
	key := func(i int) string { return fmt.Sprintf("many/%d", i) }
	guard := trial.Win(t, open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long)), key(n/2), "guard")
	server.Cli("set", "{"+key(n/3)+"}:lease", "theirs")

	h.on.Store(true)
	first := trial.Campaign(t, t.Context(), b, "many/first", "first")
	trial.Receive(t, "the first answer", h.answered) // which lasts, so that others gather behind it
	h.on.Store(false)
	server.Cli("script", "flush")
	before := calls.sent.Load()
	var begun [n]<-chan trial.Outcome
	for i := range begun {
		begun[i] = trial.Campaign(t, t.Context(), b, key(i), key(i))
	}
	leases := make([]backend.Lease, 0, n)
	for i := range begun {
		if i == n/2 {
			continue
		}
		switch o := trial.Receive(t, "a win", begun[i]); {
		case i == n/3:
			mustRefuse(t, o.Err, "in use by something else")
		case o.Err != nil:
			t.Errorf("Campaign for %s: %v", key(i), o.Err)
		default:
			leases = append(leases, o.Lease)
			if value := operator.HGet(trial.Within(t), "{"+key(i)+"}:lease", "value").Val(); value != key(i) {
				t.Errorf("the record of %s says %q", key(i), value)
			}
		}
	}
	if sent := calls.sent.Load() - before; sent > 50 {
		t.Errorf("%d elections began with %d round trips", n, sent)
	}
	h.release <- struct{}{}
	if o := trial.Receive(t, "the first win", first); o.Err != nil {
		t.Error(o.Err)
	}
	if err := guard.Resign(trial.Within(t)); err != nil {
		t.Error(err)
	}
	if o := trial.Receive(t, "the win after another", begun[n/2]); o.Err != nil {
		t.Error(o.Err)
	}

	before = calls.sent.Load()
	var ending sync.WaitGroup
	for _, l := range leases {
		ending.Go(func() {
			if err := l.Resign(trial.Within(t)); err != nil {
				t.Error(err)
			}
		})
	}
	ending.Wait()
	if sent := calls.sent.Load() - before; sent > 50 {
		t.Errorf("%d elections ended with %d round trips", len(leases), sent)
	}
	if left := operator.Keys(trial.Within(t), "*:lease").Val(); len(left) != 3 {
		t.Errorf("%d records are left, want that of the first, of the one that waited, and theirs", len(left))
	}
	connections := strings.Count(server.Cli("client", "list"), "name=many ")
	if connections > 8 {
		t.Errorf("%d connections", connections)
	}
}

// Who begins or ends alone waits for nobody.
func TestAloneIsSentAtOnce(t *testing.T) {
	t.Parallel()
	client := connect(t, servers.StartRedis(t, servers.RedisInMemory()).Endpoint()) // or its disk would be measured
	quickest := time.Hour
	for turn := 0; turn < 20 && quickest > 50*time.Millisecond; turn++ { // more than once only where the machine is slow
		b := open(t, client, rediskv.WithTTL(long))
		began := time.Now()
		for range 2 { // first ones, and others
			if err := trial.Win(t, b, "alone", "x").Resign(trial.Within(t)); err != nil {
				t.Fatal(err)
			}
		}
		quickest = min(quickest, time.Since(began))
	}
	if quickest > 50*time.Millisecond {
		t.Errorf("it took %v", quickest)
	}
}

// Who leaves while tries are under way costs the others nothing; and a win that comes to light then is undone.
func TestCampaignThatLeavesOthers(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	operator := connect(t, server.Endpoint())
	client := connect(t, server.Endpoint())
	h := newHolding("evalsha")
	h.unsent = true
	client.AddHook(h)
	b := open(t, client, rediskv.WithTTL(long))
	if err := trial.Win(t, b, "left", "x").Resign(trial.Within(t)); err != nil { // the server knows the scripts
		t.Fatal(err)
	}
	h.on.Store(true)
	first := trial.Campaign(t, t.Context(), b, "first", "x")
	trial.Receive(t, "the first try", h.answered)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	leaves, stays := trial.Campaign(t, ctx, b, "left", "x"), trial.Campaign(t, t.Context(), b, "stays", "x")
	trial.Receive(t, "the tries of both", h.answered) // at the latest when the first had its time
	h.on.Store(false)
	cancel()
	trial.MustBe(t, "the campaign that was left", trial.Receive(t, "the end", leaves).Err, context.Canceled)
	for range 2 {
		h.release <- struct{}{}
	}
	for what, won := range map[string]<-chan trial.Outcome{"first": first, "stays": stays} {
		if o := trial.Receive(t, what, won); o.Err != nil {
			t.Errorf("%s: %v", what, o.Err)
		}
	}
	servers.Await(t, "nothing of who left", func(ctx context.Context) error {
		switch token := operator.Get(ctx, "{left}:fence").Val(); {
		case token != "2":
			return errors.New("the try is still to come: token " + token)
		case operator.Exists(ctx, "{left}:lease").Val() != 0:
			return errors.New("it holds the key")
		}
		return nil
	})
}

// A try that gets no answer holds up neither what begins after it nor what ends.
func TestHungCampaign(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	proxy := servers.StartProxy(t, server.Endpoint())
	client, direct := divertible(t, proxy, server)
	b := open(t, client, rediskv.WithTTL(15*time.Second)) // requests are bounded by 5 s
	l := trial.Win(t, b, "held", "x")
	proxy.CutDown()
	hung := trial.Campaign(t, t.Context(), b, "hung", "x")
	servers.Await(t, "the try", func(ctx context.Context) error {
		return connect(t, server.Endpoint()).HGet(ctx, "{hung}:lease", "value").Err()
	})
	direct.Store(true) // further connections are good ones
	began := time.Now()
	trial.Win(t, b, "next", "x")
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("what came after it took %v", took)
	}
	err := trial.Receive(t, "the end of the one that hung", hung).Err
	trial.MustPass(t, "Campaign", err)
	if err == nil || !strings.Contains(err.Error(), "did not answer within 5s") {
		t.Errorf("Campaign: %v", err)
	}
	if left := connect(t, server.Endpoint()).Exists(trial.Within(t), "{hung}:lease").Val(); left != 0 {
		t.Error("its record is left")
	}
}

// Where there may be several servers, one that does not answer is nothing to who stands elsewhere.
func TestServersOfAClusterDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	client := redis.NewClusterClient(rediskv.ClusterOptions(&redis.ClusterOptions{Addrs: []string{servers.StartRedisCluster(t, servers.RedisInMemory()).Endpoint()}}))
	t.Cleanup(func() { _ = client.Close() })
	h := newHolding("evalsha")
	client.AddHook(h)
	b := open(t, client, rediskv.WithTTL(long))
	quickest := time.Hour
	for i := 0; i < 20 && quickest > 50*time.Millisecond; i++ { // more than once only where the machine is slow
		h.on.Store(true)
		hangs := trial.Campaign(t, t.Context(), b, fmt.Sprintf("hangs/%d", i), "x")
		trial.Receive(t, "the try", h.answered)
		h.on.Store(false)
		began := time.Now()
		trial.Win(t, b, fmt.Sprintf("elsewhere/%d", i), "x")
		quickest = min(quickest, time.Since(began))
		h.release <- struct{}{}
		if o := trial.Receive(t, "the win", hangs); o.Err != nil {
			t.Error(o.Err)
		}
	}
	if quickest > 50*time.Millisecond {
		t.Errorf("a win took %v", quickest)
	}
}
