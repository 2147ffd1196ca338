package rediskv_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/backend/rediskv"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
	"github.com/hustings-go/hustings/retry"
)

func TestNewRefusesTTLs(t *testing.T) {
	t.Parallel()
	client := connect(t, nowhere)
	for ttl, want := range map[time.Duration]string{ // in the message; empty: taken
		100 * time.Millisecond:         "",
		1501 * time.Millisecond:        "",
		24 * time.Hour:                 "",
		0:                              "0s, which is not positive",
		-5 * time.Second:               "-5s, which is not positive",
		99 * time.Millisecond:          "99ms, which is too short",
		time.Second + time.Microsecond: "1.000001s, and Redis counts whole milliseconds",
		24*time.Hour + time.Second:     "24h0m1s, which is too long",
	} {
		b, err := rediskv.New(client, rediskv.WithTTL(ttl), rediskv.WithName("n"), rediskv.Option{})
		if want == "" {
			if err != nil || b.TTL() != ttl {
				t.Errorf("TTL %v: %v, want it taken", ttl, err)
			}
			continue
		}
		mustRefuse(t, err, want)
	}
	if b, err := rediskv.New(client); err != nil || b.TTL() != rediskv.DefaultTTL {
		t.Errorf("with no options: %v", err)
	}
	_, err := rediskv.New(client, rediskv.WithName(strings.Repeat("n", 256)))
	mustRefuse(t, err, "256 bytes, and at most 255")
}

// mustRefuse fails the test unless err is permanent and says want.
func mustRefuse(t testing.TB, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || !retry.IsPermanent(err) {
		t.Errorf("%v, want a permanent error with %q", err, want)
	}
}

func TestNewRefusesClients(t *testing.T) {
	t.Parallel()
	closing := func(c redis.UniversalClient) redis.UniversalClient {
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	single := func(o redis.Options) redis.UniversalClient {
		o.Addr = nowhere
		return closing(redis.NewClient(&o))
	}
	cluster := func(o redis.ClusterOptions) redis.UniversalClient {
		o.Addrs = []string{nowhere}
		return closing(redis.NewClusterClient(&o))
	}
	failover := func(o redis.FailoverOptions) redis.UniversalClient {
		o.SentinelAddrs, o.MasterName = []string{nowhere}, "m"
		return closing(redis.NewFailoverClient(&o))
	}
	ring := closing(redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": nowhere}}))
	var none *redis.Client
	for want, clients := range map[string][]redis.UniversalClient{
		"client is nil":                  {nil, none},
		"ContextTimeoutEnabled is false": {single(redis.Options{MaxRetries: -1}), cluster(redis.ClusterOptions{}), failover(redis.FailoverOptions{MaxRetries: -1})},
		"MaxRetries is 3":                {single(redis.Options{ContextTimeoutEnabled: true}), failover(redis.FailoverOptions{ContextTimeoutEnabled: true})},
		"MaxRetries is 2":                {cluster(redis.ClusterOptions{ContextTimeoutEnabled: true, MaxRetries: 2})},
		"read from replicas": {
			cluster(redis.ClusterOptions{ContextTimeoutEnabled: true, ReadOnly: true}),
			cluster(redis.ClusterOptions{ContextTimeoutEnabled: true, RouteByLatency: true}),
			cluster(redis.ClusterOptions{ContextTimeoutEnabled: true, RouteRandomly: true}),
		},
		"Ring is not supported": {ring},
	} {
		for _, c := range clients {
			_, err := rediskv.New(c)
			mustRefuse(t, err, want)
		}
	}
	for _, c := range []redis.UniversalClient{
		single(*rediskv.Options(&redis.Options{MaxRetries: 5})),
		cluster(*rediskv.ClusterOptions(&redis.ClusterOptions{RouteRandomly: true})),
		failover(*rediskv.FailoverOptions(&redis.FailoverOptions{})),
		closing(redis.NewUniversalClient(rediskv.UniversalOptions(&redis.UniversalOptions{Addrs: []string{nowhere}}))),
		closing(redis.NewUniversalClient(rediskv.UniversalOptions(&redis.UniversalOptions{Addrs: []string{nowhere, nowhere}, ReadOnly: true}))),
	} {
		if _, err := rediskv.New(c); err != nil {
			t.Error(err)
		}
	}
	mine := &redis.Options{MaxRetries: 5, Password: "kept"}
	if sound := rediskv.Options(mine); mine.MaxRetries != 5 || mine.ContextTimeoutEnabled || sound.Password != "kept" {
		t.Error("Options changed what it was given, or lost some of it")
	}
}

// An address where nobody listens turns into a passing error, for every call, and nothing is left running.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	b := open(t, connect(t, nowhere), rediskv.WithTTL(3*time.Second), rediskv.WithName("node-7"))
	_, err := b.Campaign(trial.Within(t), "unreachable", nil)
	trial.MustPass(t, "Campaign", err)
	if err == nil || !strings.HasPrefix(err.Error(), `rediskv (node-7): campaign "unreachable": `) {
		t.Errorf("Campaign: %v", err)
	}
	for _, err := range b.Observe(trial.Within(t), "unreachable") {
		trial.MustPass(t, "Observe", err)
	}
}

func TestClosedClient(t *testing.T) {
	t.Parallel()
	client := connect(t, servers.StartRedis(t).Endpoint())
	b := open(t, client, rediskv.WithTTL(long))
	l := trial.Win(t, b, "gone", "x")
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	_, campaigned := b.Campaign(trial.Within(t), "gone/2", nil)
	_, renewed := l.Renew(trial.Within(t))
	for _, err := range []error{campaigned, renewed, l.Wait(trial.Within(t))} {
		mustRefuse(t, err, "client was closed")
	}
}

func TestValueSize(t *testing.T) {
	t.Parallel()
	var calls counter
	b := open(t, connect(t, servers.StartRedis(t).Endpoint(), calls.count), rediskv.WithTTL(long))
	l := trial.Win(t, b, "size", strings.Repeat("x", rediskv.MaxValueLen))
	before := calls.sent.Load()
	big := make([]byte, rediskv.MaxValueLen+1)
	_, err := b.Campaign(trial.Within(t), "size/2", big)
	for _, err := range []error{err, l.Proclaim(trial.Within(t), big)} {
		mustRefuse(t, err, "1048577 bytes, and at most 1048576")
	}
	if got := calls.sent.Load() - before; got != 0 {
		t.Errorf("%d requests for what is refused at once", got)
	}
}

func TestCancelledBeforeItStarts(t *testing.T) {
	t.Parallel()
	var calls counter
	b := open(t, connect(t, servers.StartRedis(t).Endpoint(), calls.count), rediskv.WithTTL(long))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Campaign(ctx, "cancelled", nil)
	if !errors.Is(err, context.Canceled) || calls.sent.Load() != 0 {
		t.Errorf("%v after %d requests", err, calls.sent.Load())
	}
}
