package election

import (
	"fmt"
	"strings"
	"time"
)

// resource is what a term guards: a register that refuses a token lower than the highest it has seen, and
// beside it one that does not look. Any delay may pass between a candidate's check and the effect.
type resource struct {
	w       *world
	highest uint64
	order   int // of the election whose write was accepted last
	plain   int // the same, where nobody looks at tokens
}

func (r *resource) write(p *process, t *Term) {
	w := r.w
	token := t.Token()
	delay := w.upTo(hand)
	if w.chance(10) {
		delay = w.upTo(3 * w.ttl)
	}
	w.at(w.now+delay, func() { r.arrive(token) })
}

func (r *resource) arrive(token uint64) {
	w := r.w
	order, known := w.check.order[token]
	if known && order < r.plain {
		w.stats.stale++
	}
	r.plain = max(r.plain, order)
	if token < r.highest && w.planted != plantBlindGuard {
		w.stats.refused++
		return
	}
	r.highest = max(r.highest, token)
	w.stats.writes++
	if known && order < r.order && !w.check.unsound {
		w.check.fail("I2", "a write of term %d, election %d, was accepted after one of election %d", token, order, r.order)
	}
	r.order = max(r.order, order)
}

// simStats counts what happened.
type simStats struct {
	runs, void     int
	events         uint64
	simulated      time.Duration
	elections      int
	terms          int
	struck         [wishCount]int
	writes         int
	refused, stale int           // writes that a token stopped; that would have come out of order without
	overlap        time.Duration // longest time for which two worked at once
	excused        time.Duration // longest time for which two terms were valid, an assumption being broken
	recovered      float64       // longest time to a leader after healing, in TTLs
	patience       float64       // the same, as a part of what is allowed
	doubted        int
}

// faults counts the struck that are trouble and not wishes.
func (s *simStats) faults() (n int) {
	for _, c := range s.struck[:faultCount] {
		n += c
	}
	return n
}

// add sums up runs. One in which no fault struck or nobody was elected a second time proves nothing.
func (s *simStats) add(o simStats) {
	s.runs++
	if o.faults() == 0 || o.elections < 2 {
		s.void++
	}
	s.events += o.events
	s.simulated += o.simulated
	s.elections += o.elections
	s.terms += o.terms
	for i := range s.struck {
		s.struck[i] += o.struck[i]
	}
	s.writes += o.writes
	s.refused += o.refused
	s.stale += o.stale
	s.overlap = max(s.overlap, o.overlap)
	s.excused = max(s.excused, o.excused)
	s.recovered = max(s.recovered, o.recovered)
	s.patience = max(s.patience, o.patience)
	s.doubted += o.doubted
}

func (s *simStats) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d schedules (%d void), %.1f simulated hours, %d events, %d elections, %d terms begun\n",
		s.runs, s.void, s.simulated.Hours(), s.events, s.elections, s.terms)
	fmt.Fprintf(&b, "guarded writes: %d accepted, %d refused by token; %d would have come out of order without\n", s.writes, s.refused, s.stale)
	fmt.Fprintf(&b, "longest overlap of work %v; of valid terms with a broken assumption %v; longest wait for a leader after healing %.1f TTL, or %.0f %% of what is allowed\n",
		s.overlap, s.excused, s.recovered, 100*s.patience)
	fmt.Fprintf(&b, "faults %d:", s.faults())
	for k, n := range s.struck {
		if k == int(faultCount) {
			fmt.Fprintf(&b, "\nwishes:")
		}
		fmt.Fprintf(&b, " %s %d,", faultNames[k], n)
	}
	return strings.TrimSuffix(b.String(), ",")
}
