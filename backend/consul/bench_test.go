package consul_test

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend/consul"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// BenchmarkHandover measures the time from the call of Resign to the return of the next candidate's
// Campaign, beside that of package api's own Lock on the same server, one of each in turn. Run it with
// -benchtime=100x; each number is of that many handovers. Each candidate waits when the other gives up.
func BenchmarkHandover(b *testing.B) {
	server := servers.StartConsul(b)
	ours, raw := newOurs(b, server), newRaw(b, server)
	var ourTimes, rawTimes []time.Duration
	for b.Loop() {
		ourTimes = append(ourTimes, ours.handover())
		rawTimes = append(rawTimes, raw.handover())
	}
	trial.ReportBeside(b, ourTimes, rawTimes)
}

// pair is two candidates that hand one key to and fro. stand campaigns and returns how to resign.
type pair struct {
	b     *testing.B
	stand [2]func(ctx context.Context) (resign func(context.Context) error, _ error)
	wire  *wire

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
	}
	p.turn = 1 - p.turn
	type winner struct {
		resign func(context.Context) error
		at     time.Time
		err    error
	}
	won := make(chan winner, 1)
	for len(p.wire.blocked) > 0 { // what was asked while the key changed hands before
		<-p.wire.blocked
	}
	go func() {
		resign, err := p.stand[p.turn](ctx)
		won <- winner{resign, time.Now(), err}
	}()
	p.wire.waits(p.b, 1)
	<-time.After(5 * time.Millisecond) // for the query to reach the server
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

func newOurs(b *testing.B, server *servers.Consul) *pair {
	p := &pair{b: b, wire: countWaits()}
	for i := range p.stand {
		candidate := open(b, connectBy(b, p.wire, server.Endpoint()), consul.WithTTL(long))
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

// newRaw makes candidates that use api.Lock, with sessions of their own as ours have.
func newRaw(b *testing.B, server *servers.Consul) *pair {
	p := &pair{b: b, wire: countWaits()}
	for i := range p.stand {
		client := connectBy(b, p.wire, server.Endpoint())
		session, _, err := client.Session().CreateNoChecks(&api.SessionEntry{TTL: "10m"}, nil)
		if err != nil {
			b.Fatal(err)
		}
		p.stand[i] = func(ctx context.Context) (func(context.Context) error, error) {
			lock, err := client.LockOpts(&api.LockOptions{Key: "bench/raw", Value: []byte("value"), Session: session})
			if err != nil {
				return nil, err
			}
			if _, err := lock.Lock(ctx.Done()); err != nil {
				return nil, err
			}
			return func(context.Context) error { return lock.Unlock() }, nil
		}
	}
	return p
}
