package zookeeper_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend/zookeeper"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// BenchmarkHandover measures the time from the call of Resign to the return of the next candidate's
// Campaign, beside that from Unlock to Lock of go-zookeeper's own Lock on the same server, one of each in
// turn. Run it with -benchtime=100x; each number is of that many handovers. Lock reads the queue once more; Campaign goes by
// the event, and a grant that it has.
func BenchmarkHandover(b *testing.B) {
	server := servers.StartZooKeeper(b)
	ours, raw := newOurs(b, server), newRaw(b, server)
	var ourTimes, rawTimes []time.Duration
	for b.Loop() {
		ourTimes = append(ourTimes, ours.handover())
		rawTimes = append(rawTimes, raw.handover())
	}
	median, rawMedian := trial.Quantile(ourTimes, 0.5), trial.Quantile(rawTimes, 0.5)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(trial.Micro(median), "µs/median")
	b.ReportMetric(trial.Micro(rawMedian), "raw-µs/median")
	b.ReportMetric(trial.Micro(trial.Quantile(ourTimes, 0.99)), "µs/p99")
	b.ReportMetric(trial.Micro(trial.Quantile(rawTimes, 0.99)), "raw-µs/p99")
	b.ReportMetric(float64(median)/float64(rawMedian), "ratio")
}

// pair is two candidates that hand one key to and fro. stand campaigns and returns how to resign; watches
// is how many watches a waiting candidate sets.
type pair struct {
	b       *testing.B
	stand   [2]func(ctx context.Context) (resign func(context.Context) error, _ error)
	tap     *wiretap
	watches int

	turn   int
	resign func(context.Context) error
}

func (p *pair) handover() time.Duration {
	ctx := p.b.Context()
	if p.resign == nil {
		var err error
		if p.resign, err = p.stand[0](ctx); err != nil {
			p.b.Fatal(err)
		}
		p.b.Cleanup(func() { _ = p.resign(context.WithoutCancel(ctx)) })
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
	for range p.watches {
		trial.Receive(p.b, "a watch", p.tap.watches)
	}
	<-time.After(10 * time.Millisecond) // until the watch was answered
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

func newOurs(b *testing.B, server *servers.ZooKeeper) *pair {
	p := &pair{b: b, tap: &wiretap{watches: make(chan struct{}, 1024)}, watches: 2}
	for i := range p.stand {
		candidate := open(b, []string{server.Endpoint()}, zookeeper.WithDialer(p.tap.dial))
		p.stand[i] = func(ctx context.Context) (func(context.Context) error, error) {
			l, err := candidate.Campaign(ctx, "bench", []byte("value"))
			if err != nil {
				return nil, err
			}
			return l.Resign, nil
		}
	}
	return p
}

func newRaw(b *testing.B, server *servers.ZooKeeper) *pair {
	p := &pair{b: b, tap: &wiretap{watches: make(chan struct{}, 1024)}, watches: 1}
	for i := range p.stand {
		conn, events, err := zk.Connect([]string{server.Endpoint()}, 15*time.Second, zk.WithLogger(silence{}), zk.WithLogInfo(false), zk.WithDialer(p.tap.dial))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			conn.Close()
			for range events {
			}
		})
		p.stand[i] = func(context.Context) (func(context.Context) error, error) {
			lock := zk.NewLock(conn, "/raw", zk.WorldACL(zk.PermAll))
			return func(context.Context) error { return lock.Unlock() }, lock.Lock()
		}
	}
	return p
}
