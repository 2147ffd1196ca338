//go:build unix

package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// nativeRedis is the recipe of Redis's documentation, which the client does not have: SET NX PX with a random value,
// tried again every wait; scripts that renew and delete by that value; and it believes no renewal that failed.
func nativeRedis(wait time.Duration) system {
	return system{name: fmt.Sprintf("SET NX every %v", wait), store: "Redis", open: func(p place) (session, error) {
		return &redisNative{redisClient(p), wait, p}, nil
	}}
}

type redisNative struct {
	client *redis.Client
	wait   time.Duration
	place  place
}

var (
	renewScript   = redis.NewScript(`return redis.call("get",KEYS[1]) == ARGV[1] and redis.call("pexpire",KEYS[1],ARGV[2]) or 0`)
	releaseScript = redis.NewScript(`return redis.call("get",KEYS[1]) == ARGV[1] and redis.call("del",KEYS[1]) or 0`)
)

func (n *redisNative) stand(ctx context.Context, key string, lead func(reign)) error {
	key, id := "native:"+key, rand.Text()
	if err := n.take(ctx, key, id); err != nil {
		return unless(ctx, err)
	}
	over, stop := make(chan struct{}), make(chan struct{})
	var renewing sync.WaitGroup
	renewing.Go(func() {
		defer close(over)
		n.renew(ctx, key, id, stop)
	})
	lead(reign{leads: told(over), over: over})
	close(stop)
	renewing.Wait()
	return releaseScript.Run(context.WithoutCancel(ctx), n.client, []string{key}, id).Err()
}

func (n *redisNative) take(ctx context.Context, key, id string) error {
	again := time.NewTicker(n.wait)
	defer again.Stop()
	for {
		err := n.client.SetArgs(ctx, key, id, redis.SetArgs{Mode: "NX", TTL: n.place.TTL}).Err()
		if !errors.Is(err, redis.Nil) {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// renew goes on until the key is lost, as far as it knows, or stop is closed.
func (n *redisNative) renew(ctx context.Context, key, id string, stop <-chan struct{}) {
	again := time.NewTicker(n.place.TTL / 3)
	defer again.Stop()
	for {
		select {
		case <-again.C:
		case <-stop:
			return
		}
		held, err := renewScript.Run(ctx, n.client, []string{key}, id, n.place.TTL.Milliseconds()).Int()
		if err != nil || held == 0 {
			return
		}
	}
}

func (n *redisNative) close() { _ = n.client.Close() }

// What is counted on Redis is how often a client waits for the server, whatever it sends.
func TestRoundTripsOfRedis(t *testing.T) {
	st := start(t, "Redis")
	p := st.at("", time.Minute)
	p.calls = new(atomic.Int64)
	client := redisClient(p)
	defer client.Close()
	ctx := t.Context()
	count := func(what string, want int64, do func() error) {
		t.Helper()
		before := p.calls.Load()
		if err := do(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := p.calls.Load() - before; got != want {
			t.Errorf("%s: %d round trips, want %d", what, got, want)
		}
	}
	ping := func() error { return client.Ping(ctx).Err() }
	count("two greetings of the first connection, and a command", 3, ping)
	count("a command", 1, ping)
	large := strings.Repeat("x", 1000)
	pipeline := func() error {
		_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := range 1000 { // a megabyte: many packets, and many answers
				p.Set(ctx, fmt.Sprint(i), large, 0)
				p.Get(ctx, fmt.Sprint(i))
			}
			return nil
		})
		return err
	}
	count("a pipeline, on a connection of its own", 2, pipeline)
	count("a pipeline", 1, pipeline)
	script := redis.NewScript(`for i = 1, 100 do redis.call("incr", KEYS[1]) end return 1`)
	run := func() error { return script.Run(ctx, client, []string{"n"}).Err() }
	count("a script that the server does not know", 2, run)
	count("a script", 1, run)
	sub := client.Subscribe(ctx, "first")
	defer sub.Close()
	hear := func() error {
		_, err := sub.Receive(ctx)
		return err
	}
	count("a subscription, until it is confirmed", 0, hear)
	count("another", 1, func() error { return errors.Join(sub.Subscribe(ctx, "second"), hear()) })
	count("a message that is heard", 1, func() error { return errors.Join(client.Publish(ctx, "second", "x").Err(), hear()) })
}
