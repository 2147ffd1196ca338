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
		ourTimes = append(ourTimes, ours.Handover())
		rawTimes = append(rawTimes, raw.Handover())
	}
	trial.ReportBeside(b, ourTimes, rawTimes)
}

// newPair makes a pair without candidates, of whom one waits when it has set so many watches.
func newPair(b *testing.B, watches int) (*trial.Pair, *wiretap) {
	tap := &wiretap{watches: make(chan struct{}, 1024)}
	return &trial.Pair{B: b, Waits: func() {
		for range watches {
			trial.Receive(b, "a watch", tap.watches)
		}
		<-time.After(10 * time.Millisecond) // until the watch was answered
	}}, tap
}

func newOurs(b *testing.B, server *servers.ZooKeeper) *trial.Pair {
	p, tap := newPair(b, 2)
	for i := range p.Stand {
		p.Stand[i] = trial.Standing(open(b, []string{server.Endpoint()}, zookeeper.WithDialer(tap.dial)), "bench")
	}
	return p
}

func newRaw(b *testing.B, server *servers.ZooKeeper) *trial.Pair {
	p, tap := newPair(b, 1)
	for i := range p.Stand {
		conn, events, err := zk.Connect([]string{server.Endpoint()}, 15*time.Second, zk.WithLogger(silence{}), zk.WithLogInfo(false), zk.WithDialer(tap.dial))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			conn.Close()
			for range events {
			}
		})
		p.Stand[i] = func(context.Context) (func(context.Context) error, error) {
			lock := zk.NewLock(conn, "/raw", zk.WorldACL(zk.PermAll))
			return func(context.Context) error { return lock.Unlock() }, lock.Lock()
		}
	}
	return p
}
