package etcd_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/election"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// BenchmarkElectionHandover measures what a service feels: from Resign asked of the leading Election to the
// first instruction of the next one's function, beside package concurrency's Election from its Resign to the
// return of the next Campaign, one of each in turn. Both candidates have waited for a while.
func BenchmarkElectionHandover(b *testing.B) {
	server := servers.StartEtcd(b)
	raw := newRaw(b, server, 250*time.Millisecond) // the others have waited as long by then
	ctx, cancel := context.WithCancel(b.Context())
	begun := make(chan time.Time)
	var candidates [2]*election.Election[string]
	left := make(chan error, len(candidates))
	for i := range candidates {
		store := open(b, connect(b, []string{server.Endpoint()}), etcd.WithTTL(10*time.Second))
		e, err := election.New(store, "bench/election", "candidate",
			election.WithResignPause(time.Millisecond), election.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			b.Fatal(err)
		}
		candidates[i] = e
		go func() {
			left <- e.Run(ctx, func(ctx context.Context, _ *election.Term) error {
				at := time.Now()
				select {
				case begun <- at:
				case <-ctx.Done():
				}
				<-ctx.Done()
				return nil
			})
		}()
	}
	<-begun
	var ourTimes, rawTimes []time.Duration
	for b.Loop() {
		rawTimes = append(rawTimes, raw.Handover())
		leader := candidates[0]
		if !leader.Term().Valid() {
			leader = candidates[1]
		}
		asked := time.Now()
		leader.Resign()
		ourTimes = append(ourTimes, (<-begun).Sub(asked))
	}
	trial.ReportBeside(b, ourTimes, rawTimes)
	cancel()
	for range candidates {
		<-left
	}
}
