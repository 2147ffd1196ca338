package rediskv_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// BenchmarkHandover measures the time from the call of Resign to the return of the next candidate's
// Campaign, beside the recipe of Redis's own documentation on the same server, one of each in turn: SET NX PX,
// tried again every 100 ms, as the libraries that implement it do; and beside that same recipe with a message
// on release. Run it with -benchtime=100x; each number is of that many handovers.
func BenchmarkHandover(b *testing.B) {
	server := servers.StartRedis(b)
	ours, polling, told := newOurs(b, server), newRaw(b, server, "bench/poll", false), newRaw(b, server, "bench/told", true)
	var ourTimes, pollTimes, toldTimes []time.Duration
	for b.Loop() {
		ourTimes = append(ourTimes, ours.Handover())
		toldTimes = append(toldTimes, told.Handover())
		pollTimes = append(pollTimes, polling.Handover())
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(trial.Micro(trial.Quantile(ourTimes, 0.5)), "µs/median")
	b.ReportMetric(trial.Micro(trial.Quantile(ourTimes, 0.99)), "µs/p99")
	b.ReportMetric(trial.Micro(trial.Quantile(pollTimes, 0.5)), "poll-µs/median")
	b.ReportMetric(trial.Micro(trial.Quantile(pollTimes, 0.99)), "poll-µs/p99")
	b.ReportMetric(trial.Micro(trial.Quantile(toldTimes, 0.5)), "told-µs/median")
	b.ReportMetric(trial.Micro(trial.Quantile(toldTimes, 0.99)), "told-µs/p99")
}

// settled waits until somebody listens to a channel, and has looked at the key once more.
func settled(b *testing.B, server *servers.Redis, key string) func() {
	operator := connect(b, server.Endpoint())
	return func() {
		listeners(b, operator, key, 1)
		pause()
	}
}

// pause is as long as any time of a poll's interval, so that none is measured at a moment that suits it.
func pause() { <-time.After(20*time.Millisecond + rand.N(100*time.Millisecond)) }

func newOurs(b *testing.B, server *servers.Redis) *trial.Pair {
	p := &trial.Pair{B: b, Waits: settled(b, server, "bench/ours")}
	for i := range p.Stand {
		p.Stand[i] = trial.Standing(open(b, connect(b, server.Endpoint())), "bench/ours")
	}
	return p
}

// newRaw is the recipe: a random value, SET NX PX, and a script that deletes by that value.
func newRaw(b *testing.B, server *servers.Redis, key string, tell bool) *trial.Pair {
	p := &trial.Pair{B: b, Waits: pause}
	if tell {
		p.Waits = settled(b, server, key)
	}
	release := redis.NewScript(`if redis.call("get",KEYS[1]) == ARGV[1] then
		local n = redis.call("del",KEYS[1]); redis.call("publish", ARGV[2], "") return n else return 0 end`)
	channel := "{" + key + "}:events"
	for i := range p.Stand {
		client := connect(b, server.Endpoint())
		id := []string{"one", "two"}[i]
		p.Stand[i] = func(ctx context.Context) (func(context.Context) error, error) {
			var news <-chan *redis.Message
			if tell {
				sub := client.Subscribe(ctx, channel)
				defer sub.Close()
				if _, err := sub.Receive(ctx); err != nil {
					return nil, err
				}
				news = sub.Channel()
			}
			again := time.NewTicker(100 * time.Millisecond)
			defer again.Stop()
			for {
				err := client.SetArgs(ctx, key, id, redis.SetArgs{Mode: "NX", TTL: 15 * time.Second}).Err()
				switch {
				case err == nil:
					return func(ctx context.Context) error {
						return release.Run(ctx, client, []string{key}, id, channel).Err()
					}, nil
				case err != redis.Nil: //nolint:errorlint // never wrapped
					return nil, err
				}
				select {
				case <-again.C:
				case <-news:
				}
			}
		}
	}
	return p
}
