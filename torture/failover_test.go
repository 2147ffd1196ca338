//go:build unix

package torture

import (
	"slices"
	"time"
)

// failover is how long nobody led because of a fault.
type failover struct {
	kind  kind
	took  time.Duration
	alone bool // nothing else was wrong meanwhile
}

// failovers measures from each crash, resignation and cut of a leader, and from each failover of the store that was
// to lose something, to the next leader's start.
func (e *evidence) failovers() (all []failover) {
	terms := e.history.sorted()
	for _, d := range e.deeds {
		i := slices.IndexFunc(terms, func(t *term) bool { return t.token == d.Token && (t.who == d.Victim || d.Kind == split) })
		if d.Token == 0 || i < 0 || i+1 == len(terms) || !ends(d, terms[i], e.timing) {
			continue
		}
		next := terms[i+1]
		f := failover{kind: d.Kind, took: time.Duration(next.start - d.At), alone: true}
		for _, other := range e.deeds {
			if other != d && other.At < next.start && other.Until > d.At {
				f.alone = false
			}
		}
		all = append(all, f)
	}
	return all
}

// ends reports whether a deed is what ended the term that it hit.
func ends(d *deed, t *term, timing timing) bool {
	switch d.Kind {
	case kill:
		return t.told == 0
	case split:
		return t.told > d.At && t.told < d.Until+int64(timing.ttl)
	case resign:
		return t.resigned() && t.told > d.At && t.told-d.At < int64(timing.ttl)
	case cut, cutUp, cutDown:
		return t.expired() && t.told > d.At && t.told-d.At < int64(timing.ttl)
	default:
		return false
	}
}

// stats are the figures of a row of durations.
type stats struct {
	N                  int
	Min, P50, P99, Max time.Duration
}

func statsOf(ds []time.Duration) stats {
	if len(ds) == 0 {
		return stats{}
	}
	ds = slices.Sorted(slices.Values(ds))
	at := func(part float64) time.Duration { return ds[min(len(ds)-1, int(part*float64(len(ds))))] }
	return stats{N: len(ds), Min: ds[0], P50: at(0.50), P99: at(0.99), Max: ds[len(ds)-1]}
}

// failoverStats sums failovers of the given kinds up.
func failoverStats(all []failover, alone bool, kinds ...kind) stats {
	var ds []time.Duration
	for _, f := range all {
		if slices.Contains(kinds, f.kind) && (f.alone || !alone) {
			ds = append(ds, f.took)
		}
	}
	return statsOf(ds)
}
