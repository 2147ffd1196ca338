//go:build unix

package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hustings-go/hustings/internal/servers"
)

// measureCut cuts the leader's network, and measures from the start of the next leader to the last moment at which the old
// one's own API said that it leads: below zero, they never overlap.
func measureCut(t *testing.T, r *run) {
	all := r.each(t, func(t *testing.T, s system) (overlaps figures) {
		for i := range pick(r, 1, 5) {
			overlaps = append(overlaps, float64(cut(t, r, s, i))/float64(time.Millisecond))
		}
		return overlaps
	})
	for _, m := range r.matches() {
		line := row{
			Measure: "network cut: old leader's end after the new one's start", Store: m.store, Unit: "ms", Target: "< 0, in every run",
			Ours: all[m.ours.id()], Peer: m.theirs[0].name, Theirs: all[m.theirs[0].id()],
		}
		line.Met = verdict(line.Ours.quantile(1) < 0)
		if line.Ours.quantile(1) >= 0 {
			t.Errorf("on %s, ours overlaps after a cut: %v ms", m.store, line.Ours)
		}
		if line.Theirs.quantile(1) >= float64(untold/time.Millisecond) {
			line.Note = fmt.Sprintf("theirs was not told within %v in some run", untold)
		}
		if note := onEtcd(m); note != "" {
			line.Note = note
		}
		r.table.add(line)
	}
}

// untold is how long after the next leader's start the old one is watched.
const untold = 15 * time.Second

func cut(t *testing.T, r *run, s system, i int) time.Duration {
	ttl, st, key := r.ttl(s.store), r.store(s.store), fmt.Sprintf("bench/cut/%s-%d", s.slug(), i)
	proxy := servers.StartProxy(t, st.place.Addr)
	there := st.at("leader", ttl)
	there.Addr = proxy.Addr()
	old := mustOpen(t, s, there)

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	leads, ended, stood := make(chan struct{}), make(chan time.Time, 1), make(chan error, 1)
	enough := make(chan struct{})
	go func() {
		stood <- old.stand(ctx, key, func(r reign) {
			close(leads)
			ended <- last(r, enough)
			stop() // it shall not stand again
		})
	}()
	select {
	case <-leads:
	case err := <-stood:
		t.Fatalf("it left: %v", err)
	case <-time.After(patience):
		t.Fatal("it does not lead")
	}
	c := challenge(t, s, st.at("challenger", ttl), key)
	<-time.After(ttl / 2)
	proxy.Cut()
	began := c.since()
	var end time.Time
	select {
	case end = <-ended:
	case <-time.After(pick(r, time.Second, untold)):
		close(enough)
		end = <-ended
	}
	c.end()
	proxy.Refuse() // what was held shall not arrive
	proxy.Heal()
	if err := <-stood; err != nil {
		t.Logf("%s on %s leaves with %v", s.name, s.store, err)
	}
	return end.Sub(began)
}

// last returns the last moment at which a reign said that it lasts, as it is asked each millisecond.
func last(r reign, enough <-chan struct{}) time.Time {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var at time.Time
	for {
		before := time.Now()
		if !r.leads() {
			return at
		}
		at = before
		select {
		case <-tick.C:
		case <-enough:
			if before = time.Now(); r.leads() { // this goroutine may not have run for long
				at = before
			}
			return at
		}
	}
}
