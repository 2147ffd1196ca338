package etcd_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/election"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// BenchmarkRest counts what n elections in one process cost etcd in one TTL when nothing happens: led, led
// while their events are ranged over, which observes them, and waiting for leaders elsewhere. Run it with
// -benchtime=1x; each run lasts some TTLs.
func BenchmarkRest(b *testing.B) {
	type candidate = election.Election[string]
	lead := func(ctx context.Context, e *candidate, up func()) {
		up = sync.OnceFunc(up)
		_ = e.Run(ctx, func(ctx context.Context, _ *election.Term) error {
			up()
			<-ctx.Done()
			return nil
		})
	}
	follow := func(ctx context.Context, e *candidate, up func(), state election.State) {
		up = sync.OnceFunc(up)
		for ev := range e.Events(ctx) {
			if ev.State == state {
				up()
			}
		}
	}
	const ttl = 6 * time.Second
	for _, bc := range []struct {
		name  string
		n     int
		stand func(context.Context, *candidate, func())
	}{
		{"led", 1, lead},
		{"led", 10, lead},
		{"led", 1000, lead},
		{"led-with-events", 1000, func(ctx context.Context, e *candidate, up func()) { follow(ctx, e, up, election.StateLeader) }},
		{"waiting", 1000, func(ctx context.Context, e *candidate, up func()) { follow(ctx, e, up, election.StateCampaigning) }},
	} {
		b.Run(fmt.Sprintf("%s-%d", bc.name, bc.n), func(b *testing.B) {
			server := servers.StartEtcd(b)
			if bc.name == "waiting" {
				elsewhere := open(b, connect(b, []string{server.Endpoint()}), etcd.WithTTL(time.Hour))
				for i := range bc.n {
					trial.Win(b, elsewhere, fmt.Sprintf("rest/%d", i), "elsewhere")
				}
			}
			var calls counter
			store := open(b, connect(b, []string{server.Endpoint()}, calls.count), etcd.WithTTL(ttl))
			ctx, cancel := context.WithCancel(b.Context())
			var up, left sync.WaitGroup
			for i := range bc.n {
				e, err := election.New(store, fmt.Sprintf("rest/%d", i), "here", election.WithLogger(slog.New(slog.DiscardHandler)))
				if err != nil {
					b.Fatal(err)
				}
				up.Add(1)
				left.Go(func() { bc.stand(ctx, e, up.Done) })
			}
			up.Wait()
			<-time.After(ttl * 3 / 2) // until their renewals have found together
			const ttls = 3
			keepAlives, all := calls.keepAlives.Load(), calls.all.Load()
			<-time.After(ttls * ttl)
			keepAlives, all = calls.keepAlives.Load()-keepAlives, calls.all.Load()-all
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(keepAlives)/ttls, "keepalives/TTL")
			b.ReportMetric(float64(all-keepAlives)/ttls, "reads/TTL")
			cancel()
			left.Wait()
		})
	}
}
