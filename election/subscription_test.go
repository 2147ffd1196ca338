package election

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// publisher makes the records that a campaign could make, in every legal order, for a hub alone.
type publisher struct {
	h     *hub
	rnd   *rand.Rand
	term  *Term
	n     uint64
	clock time.Duration
}

func newPublisher(seed uint64) *publisher {
	return &publisher{h: &hub{}, rnd: rand.New(rand.NewPCG(seed, 2)), clock: time.Hour}
}

func (p *publisher) now() instant { return backend.InstantAt(p.clock, p.clock, 0) }

// begin announces a new term.
func (p *publisher) begin(ctx context.Context) {
	p.n++
	t := newTerm(ctx, p.now, p.n, grant{Sent: p.now(), TTL: testTTL}, plan{hard: testTTL, skew: testTTL})
	p.term = t
	p.h.publish(record{state: StateLeader, term: t, ctx: t.ctx, leader: leader{Token: p.n}})
}

// end tells how the term ended: the cause is its own, so that a listener can be held to it.
func (p *publisher) end(state State) {
	cause := fmt.Errorf("end of term %d", p.term.token)
	p.term.cancel(cause)
	if p.rnd.IntN(2) == 0 {
		p.term.span.Store(nil)
	}
	p.h.publish(record{state: state, ends: p.term, err: cause})
	p.term = nil
}

// move publishes one random record that may follow the last.
func (p *publisher) move(ctx context.Context) {
	others := []State{StateCampaigning, StateResigned, StateErrored}
	switch {
	case p.term != nil:
		p.end(others[p.rnd.IntN(3)])
	case p.rnd.IntN(3) == 0:
		p.begin(ctx)
	default:
		p.h.publish(record{state: others[p.rnd.IntN(3)], leader: leader{Token: p.n}})
	}
}

// TestSubscriptionKeepsItsPromises pushes and takes at random, a million times in all, and holds a
// listener that takes when it likes to promises 2 to 4.
func TestSubscriptionKeepsItsPromises(t *testing.T) {
	seeds, steps := 100, 10_000
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		p := newPublisher(uint64(seed))
		p.begin(t.Context())
		s := p.h.subscribe()
		seen := map[uint64]bool{} // terms that were seen to begin
		var open uint64           // the one whose end was not told yet
		var before State
		for range steps {
			if p.rnd.IntN(3) > 0 {
				p.move(t.Context())
				if len(s.queue) > int(StateErrored) {
					t.Fatalf("seed %d: %d unread events", seed, len(s.queue))
				}
				continue
			}
			if len(s.queue) == 0 {
				continue
			}
			r, ok, _ := s.pop()
			if !ok {
				continue // all that was queued is over
			}
			s.before, before = r.state, s.before
			if r.state == StateLeader {
				if seen[r.term.token] {
					t.Fatalf("seed %d: term %d announced twice", seed, r.term.token)
				}
				if r.term.dead() || r.term.ctx.Err() != nil {
					t.Fatalf("seed %d: term %d announced when over", seed, r.term.token)
				}
				if open != 0 {
					t.Fatalf("seed %d: term %d announced before the end of %d was told", seed, r.term.token, open)
				}
				open = r.term.token
				seen[open] = true
				continue
			}
			if open != 0 {
				if want := fmt.Sprintf("end of term %d", open); r.err == nil || !contains(r.err, want) || before != StateLeader {
					t.Fatalf("seed %d: after term %d came %v (before: %v), err %v", seed, open, r.state, before, r.err)
				}
				open = 0
			}
		}
	}
}

func contains(err error, text string) bool {
	for _, e := range unjoin(err) {
		if e.Error() == text {
			return true
		}
	}
	return false
}

func unjoin(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}

// TestOrderOfUnreadEventsIsThatOfTheLatest is promise 4 to the letter.
func TestOrderOfUnreadEventsIsThatOfTheLatest(t *testing.T) {
	h := &hub{}
	s := h.subscribe()
	s.pop()
	for _, st := range []State{StateCampaigning, StateErrored, StateCampaigning, StateResigned, StateErrored} {
		h.publish(record{state: st, ctx: t.Context()})
	}
	want := []State{StateCampaigning, StateResigned, StateErrored}
	for i, w := range want {
		r, ok, _ := s.pop()
		if !ok || r.state != w {
			t.Errorf("event %d: %v (%v), want %v", i, r.state, ok, w)
		}
	}
	if _, ok, _ := s.pop(); ok {
		t.Error("more events than states")
	}
}

// TestNoEventIsMissingForALoopThatKeepsUp forces 10,000 transitions through a real campaign's hub, with
// the loop in another goroutine, under the race detector.
func TestNoEventIsMissingForALoopThatKeepsUp(t *testing.T) {
	const transitions = 10_000
	p := newPublisher(7)
	s := p.h.subscribe()
	s.pop()
	took := make(chan record)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(took)
		for {
			r, _, ok := s.take(t.Context())
			if !ok {
				return
			}
			took <- r
		}
	})
	var last *Term
	for i := range transitions {
		p.move(t.Context())
		r := <-took
		want := p.h.current()
		if r.state != want.state || r.term != want.term {
			t.Fatalf("transition %d: saw %v, published %v", i, r.state, want.state)
		}
		if last != nil && (r.ends != last || r.err == nil) {
			t.Fatalf("transition %d: the end of a term was not told: %v", i, r.err)
		}
		last = r.term
	}
	s.close()
	wg.Wait()
}

func TestAnEventsContextEndsWithTheNextEvent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newElection(t, newStore(t), "a")
		var contexts []context.Context
		d := standFor(t, e, func(ev Event[string]) bool {
			contexts = append(contexts, ev.Context())
			return true
		})
		w := watchFor(t, e, nil)
		until(t, "a leads", leads(e))
		d.stop()
		for i, ctx := range contexts {
			if ctx.Err() == nil {
				t.Errorf("event %d: its context lives on after the loop", i)
			}
		}
		all := w.all()
		for i, ev := range all[:len(all)-1] {
			if ev.Context().Err() == nil {
				t.Errorf("watched event %d: its context lives on after a newer event", i)
			}
			if ev.State == StateLeader && TermFrom(ev.Context()) != ev.Term {
				t.Errorf("watched event %d does not carry its term", i)
			}
		}
		w.stop()
		if (Event[string]{}).Context() == nil {
			t.Error("the zero Event has a nil context")
		}
	})
}

// TestASleepingBodyHoldsNothingUp is promise 1.
func TestASleepingBodyHoldsNothingUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		e := newElection(t, store, "a")
		d := standFor(t, e, func(ev Event[string]) bool {
			if ev.State != StateLeader || ev.Term.Token() != 1 {
				return true
			}
			time.Sleep(time.Hour)
			if !ev.Term.Valid() || ev.Context().Err() != nil {
				t.Error("the lease was not renewed under a sleeping body")
			}
			store.Depose(testKey)
			time.Sleep(time.Millisecond)
			if ev.Term.Valid() || !errors.Is(context.Cause(ev.Context()), ErrLost) {
				t.Error("the term did not end on time under the body")
			}
			time.Sleep(time.Hour)
			if got := e.Current().State; got != StateCampaigning {
				t.Errorf("nothing was published under the body: %v", got)
			}
			return true
		})
		w := watchFor(t, e, func(Event[string]) { time.Sleep(3 * time.Hour) })
		time.Sleep(2*time.Hour + time.Second)
		until(t, "a leads again", func() bool { return e.Term().Token() == 2 })
		d.stop()
		d.want(t, "leader campaigning leader resigned")
		w.stop()
	})
}

// TestALeaderEventThatIsOverIsDropped is promise 2, through the election.
func TestALeaderEventThatIsOverIsDropped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore(t)
		rival := newElection(t, newPeer(t, store), "r")
		dr := standFor(t, rival, nil)
		until(t, "r leads", leads(rival))
		e := newElection(t, store, "a")
		slept := false
		d := standFor(t, e, func(ev Event[string]) bool {
			if !slept {
				slept = true
				time.Sleep(time.Minute)
			}
			return true
		})
		time.Sleep(time.Second)
		dr.stop()
		until(t, "a leads, and has not seen it", leads(e))
		store.Depose(testKey)
		time.Sleep(time.Second)
		until(t, "a leads again", func() bool { return e.Term().Token() == 3 })
		time.Sleep(2 * time.Minute)
		leaders := 0
		for _, ev := range d.all() {
			if ev.State == StateLeader {
				leaders++
				if ev.Term.Token() != 3 {
					t.Errorf("saw term %d, which was over", ev.Term.Token())
				}
			}
		}
		if leaders != 1 {
			t.Errorf("saw %d terms: %s", leaders, d)
		}
		d.stop()
	})
}
