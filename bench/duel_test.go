//go:build unix

package bench

import (
	"context"
	"testing"
	"time"
)

// challenger is a candidate that waits in this process while another one leads elsewhere.
type challenger struct {
	t     testing.TB
	ours  bool
	led   chan time.Time
	stood chan error
	leave chan struct{}
	stop  context.CancelFunc
}

// challenge has a new session of a system stand for key. It leads until it is ended.
func challenge(t testing.TB, system system, p place, key string) *challenger {
	t.Helper()
	s := mustOpen(t, system, p)
	ctx, stop := context.WithCancel(context.Background())
	c := &challenger{t: t, ours: system.ours, led: make(chan time.Time, 1), stood: make(chan error, 1), leave: make(chan struct{}), stop: stop}
	go func() {
		c.stood <- s.stand(ctx, key, func(reign) {
			c.led <- time.Now()
			<-c.leave
		})
	}()
	return c
}

// since waits until the challenger leads, and returns when that was.
func (c *challenger) since() time.Time {
	c.t.Helper()
	select {
	case at := <-c.led:
		return at
	case err := <-c.stood:
		c.t.Fatalf("the challenger left: %v", err)
	case <-time.After(2 * patience):
		c.t.Fatal("the challenger does not lead")
	}
	return time.Time{}
}

// end has the challenger, who leads, give up.
func (c *challenger) end() {
	c.t.Helper()
	close(c.leave)
	switch err := <-c.stood; {
	case err == nil:
	case c.ours:
		c.t.Errorf("the challenger: %v", err)
	default: // some cannot give up what they have lost meanwhile
		c.t.Logf("the challenger: %v", err)
	}
	c.stop()
}

// each runs f for every system on the stores that were chosen, all at once: they only wait.
func (r *run) each(t *testing.T, f func(t *testing.T, s system) figures) map[string]figures {
	t.Helper()
	type result struct {
		key string
		got figures
	}
	var chosen []system
	seen := make(map[string]bool)
	for _, m := range r.matches() {
		for _, s := range append([]system{m.ours}, m.theirs...) {
			if !seen[s.id()] {
				seen[s.id()] = true
				chosen = append(chosen, s)
				r.store(s.store)
			}
		}
	}
	results := make(chan result, len(chosen))
	t.Run("systems", func(t *testing.T) {
		for _, s := range chosen {
			t.Run(s.id(), func(t *testing.T) {
				t.Parallel()
				results <- result{s.id(), f(t, s)}
			})
		}
	})
	close(results)
	all := make(map[string]figures)
	for got := range results {
		all[got.key] = got.got
	}
	return all
}
