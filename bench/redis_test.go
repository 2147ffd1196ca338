//go:build unix

package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
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
