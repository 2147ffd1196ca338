package trial

import (
	"context"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// Pair is two candidates that hand one key to and fro.
type Pair struct {
	B     *testing.B
	Stand [2]func(context.Context) (resign func(context.Context) error, _ error) // campaigns
	Waits func()                                                                 // returns when the one who campaigned last waits

	turn   int
	resign func(context.Context) error
}

// Standing is how b stands for key, in a Pair.
func Standing(b backend.Backend, key string) func(context.Context) (resign func(context.Context) error, _ error) {
	return func(ctx context.Context) (func(context.Context) error, error) {
		l, err := b.Campaign(ctx, key, []byte("value"))
		if err != nil {
			return nil, err
		}
		return l.Resign, nil
	}
}

// Handover has one of them win when the other resigns, and returns the time from the one call to the return of the other.
func (p *Pair) Handover() time.Duration {
	ctx := p.B.Context()
	if p.resign == nil {
		var err error
		if p.resign, err = p.Stand[0](ctx); err != nil {
			p.B.Fatal(err)
		}
		p.B.Cleanup(func() { _ = p.resign(context.WithoutCancel(ctx)) })
	}
	p.turn = 1 - p.turn
	type winner struct {
		resign func(context.Context) error
		at     time.Time
		err    error
	}
	won := make(chan winner, 1)
	go func() {
		resign, err := p.Stand[p.turn](ctx)
		won <- winner{resign, time.Now(), err}
	}()
	p.Waits()
	began := time.Now()
	if err := p.resign(ctx); err != nil {
		p.B.Fatal(err)
	}
	w := Receive(p.B, "the next win", won)
	if w.err != nil {
		p.B.Fatal(w.err)
	}
	p.resign = w.resign
	return w.at.Sub(began)
}

// ReportBeside reports what times of ours are, beside those of another recipe.
func ReportBeside(b *testing.B, ours, raw []time.Duration) {
	b.Helper()
	median, rawMedian := Quantile(ours, 0.5), Quantile(raw, 0.5)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(Micro(median), "µs/median")
	b.ReportMetric(Micro(rawMedian), "raw-µs/median")
	b.ReportMetric(Micro(Quantile(ours, 0.99)), "µs/p99")
	b.ReportMetric(Micro(Quantile(raw, 0.99)), "raw-µs/p99")
	b.ReportMetric(float64(median)/float64(rawMedian), "ratio")
}
