package election

import (
	"context"
	"slices"
	"time"
)

// shrink looks for a shorter scenario that breaks the same promise: fewer things planned, fewer
// candidates, less time, no malice in the network.
func shrink(ctx context.Context, s scenario, v *violation) (scenario, *violation) {
	const tries = 400
	left := tries
	try := func(c scenario) bool {
		if left--; left < 0 {
			return false
		}
		r := simulate(ctx, c, false)
		if r.violation == nil || r.violation.rule != v.rule {
			return false
		}
		s, v = c, r.violation
		return true
	}
	for again := true; again && left > 0; {
		again = false
		for size := max(1, len(s.faults)/2); size > 0; size /= 2 {
			for i := 0; i+size <= len(s.faults); {
				c := s
				c.faults = slices.Concat(s.faults[:i], s.faults[i+size:])
				if try(c) {
					again = true
				} else {
					i += size
				}
			}
		}
		for _, change := range []func(*scenario){
			func(c *scenario) { c.candidates = max(1, c.candidates-1) },
			func(c *scenario) { c.chaos = c.chaos * 3 / 4 },
			func(c *scenario) { c.lossy = 1 << 30 },
			func(c *scenario) { c.snap = 1 << 30 },
			func(c *scenario) { c.weak = false },
			func(c *scenario) { c.granted = c.ttl },
			func(c *scenario) { c.ttl, c.granted = 15*time.Second, 15*time.Second },
		} {
			c := s
			if change(&c); !slices.EqualFunc([]scenario{c}, []scenario{s}, sameScale) && try(c) {
				again = true
			}
		}
	}
	return s, v
}

func sameScale(a, b scenario) bool {
	return a.candidates == b.candidates && a.chaos == b.chaos && a.lossy == b.lossy && a.snap == b.snap &&
		a.weak == b.weak && a.granted == b.granted && a.ttl == b.ttl
}
