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
			ours, raw := newOurs(b, server), newRaw(b, server)
			var ourTimes, rawTimes []time.Duration
			for b.Loop() {
				ourTimes = append(ourTimes, ours.handover(bc.waited))
				rawTimes = append(rawTimes, raw.handover(bc.waited))
			}
			median, rawMedian := trial.Quantile(ourTimes, 0.5), trial.Quantile(rawTimes, 0.5)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(trial.Micro(median), "µs/median")
			b.ReportMetric(trial.Micro(rawMedian), "raw-µs/median")
			b.ReportMetric(trial.Micro(trial.Quantile(ourTimes, 0.99)), "µs/p99")
			b.ReportMetric(trial.Micro(trial.Quantile(rawTimes, 0.99)), "raw-µs/p99")
			b.ReportMetric(float64(median)/float64(rawMedian), "ratio")
		})
	}
}

// pair is two candidates that hand one key to and fro. stand campaigns and returns how to resign; watches
// is how many watches a waiting candidate holds.
type pair struct {
	b       *testing.B
	stand   [2]func(ctx context.Context) (resign func(context.Context) error, _ error)
	counter *counter
	watches int

	turn   int
	resign func(context.Context) error
}

func (p *pair) handover(waited time.Duration) time.Duration {
	ctx := p.b.Context()
	if p.resign == nil {
		var err error
		if p.resign, err = p.stand[0](ctx); err != nil {
			p.b.Fatal(err)
		}
	}
	p.turn = 1 - p.turn
	type winner struct {
		resign func(context.Context) error
		at     time.Time
		err    error
	}
	won := make(chan winner, 1)
	go func() {
		resign, err := p.stand[p.turn](ctx)
		won <- winner{resign, time.Now(), err}
	}()
	p.counter.watched(p.b, p.watches)
	<-time.After(waited)
	began := time.Now()
	if err := p.resign(ctx); err != nil {
		p.b.Fatal(err)
	}
	w := trial.Receive(p.b, "the next win", won)
	if w.err != nil {
		p.b.Fatal(w.err)
	}
	p.resign = w.resign
	return w.at.Sub(began)
}

func newOurs(b *testing.B, server *servers.Etcd) *pair {
	p := &pair{b: b, counter: countWatches(), watches: 1}
	for i := range p.stand {
		candidate := open(b, connect(b, []string{server.Endpoint()}, p.counter.count))
		p.stand[i] = func(ctx context.Context) (func(context.Context) error, error) {
			l, err := candidate.Campaign(ctx, "bench/ours", []byte("value"))
			if err != nil {
				return nil, err
			}
			return l.Resign, nil
		}
	}
	return p
}

func newRaw(b *testing.B, server *servers.Etcd) *pair {
	p := &pair{b: b, counter: countWatches(), watches: 1}
	for i := range p.stand {
		client := connect(b, []string{server.Endpoint()}, p.counter.count)
		session, err := concurrency.NewSession(client, concurrency.WithTTL(15))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = session.Close() })
		candidate := concurrency.NewElection(session, "bench/raw")
		p.stand[i] = func(ctx context.Context) (func(context.Context) error, error) {
			return candidate.Resign, candidate.Campaign(ctx, "value")
		}
	}
	return p
}
