package etcd_test

import (
	"context"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// BenchmarkHandover measures the time from the call of Resign to the return of the next candidate's
// Campaign, beside that of package concurrency's own Election on the same server, one of each in turn. Run
// it with -benchtime=100x; each number is of that many handovers.
//
// Election watches from a revision that is past already, and etcd serves such watches every 100 ms until
// they have caught up. So a candidate that has only just queued up is measured apart from one that has
// waited for a while.
func BenchmarkHandover(b *testing.B) {
	for _, bc := range []struct {
		name   string
		waited time.Duration
	}{{"waited", 250 * time.Millisecond}, {"just-queued", 0}} {
		b.Run(bc.name, func(b *testing.B) {
			server := servers.StartEtcd(b)
			ours, raw := newOurs(b, server, bc.waited), newRaw(b, server, bc.waited)
			var ourTimes, rawTimes []time.Duration
			for b.Loop() {
				ourTimes = append(ourTimes, ours.Handover())
				rawTimes = append(rawTimes, raw.Handover())
			}
			trial.ReportBeside(b, ourTimes, rawTimes)
		})
	}
}

// waiting waits until the one who has just campaigned has its watch, and for a while after that.
func waiting(b *testing.B, c *counter, waited time.Duration) func() {
	return func() {
		c.watched(b, 1)
		<-time.After(waited)
	}
}

func newOurs(b *testing.B, server *servers.Etcd, waited time.Duration) *trial.Pair {
	c := countWatches()
	p := &trial.Pair{B: b, Waits: waiting(b, c, waited)}
	for i := range p.Stand {
		p.Stand[i] = trial.Standing(open(b, connect(b, []string{server.Endpoint()}, c.count)), "bench/ours")
	}
	return p
}

func newRaw(b *testing.B, server *servers.Etcd, waited time.Duration) *trial.Pair {
	c := countWatches()
	p := &trial.Pair{B: b, Waits: waiting(b, c, waited)}
	for i := range p.Stand {
		client := connect(b, []string{server.Endpoint()}, c.count)
		session, err := concurrency.NewSession(client, concurrency.WithTTL(15))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = session.Close() })
		candidate := concurrency.NewElection(session, "bench/raw")
		p.Stand[i] = func(ctx context.Context) (func(context.Context) error, error) {
			return candidate.Resign, candidate.Campaign(ctx, "value")
		}
	}
	return p
}
