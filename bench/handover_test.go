//go:build unix

package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// pair is two sessions that hand one key to and fro.
type pair struct {
	t        testing.TB
	key      string
	sessions [2]session
	turn     int
	leave    chan chan<- time.Time // asks who leads to go, and to tell when it did
	led      chan time.Time        // when somebody began to lead
	stood    chan error            // what came of each candidacy
}

func newPair(t testing.TB, st *store, s system, key string, ttl time.Duration) *pair {
	t.Helper()
	p := &pair{t: t, key: key, leave: make(chan chan<- time.Time), led: make(chan time.Time, 1), stood: make(chan error, 2)}
	for i := range p.sessions {
		p.sessions[i] = mustOpen(t, s, st.at(fmt.Sprintf("candidate-%d", i), ttl))
	}
	p.stand()
	p.await()
	return p
}

// stand has the other session queue up.
func (p *pair) stand() {
	s := p.sessions[p.turn]
	p.turn = 1 - p.turn
	go func() {
		p.stood <- s.stand(context.Background(), p.key, func(reign) {
			p.led <- time.Now()
			gone := <-p.leave
			gone <- time.Now() // the last that it does: returning resigns
		})
	}()
}

// await returns when somebody began to lead.
func (p *pair) await() time.Time {
	p.t.Helper()
	select {
	case at := <-p.led:
		return at
	case err := <-p.stood:
		p.t.Fatalf("a candidate left: %v", err)
	case <-time.After(patience):
		p.t.Fatalf("nobody leads %s after %v", p.key, patience)
	}
	return time.Time{}
}

// handover has the leader resign, and returns how long it took until the other one led.
func (p *pair) handover() time.Duration {
	p.t.Helper()
	gone := make(chan time.Time, 1)
	p.leave <- gone
	began := <-gone
	select {
	case at := <-p.led:
		p.left()
		return at.Sub(began)
	case <-time.After(patience):
		p.t.Fatalf("nobody leads %s %v after a resignation", p.key, patience)
	}
	return 0
}

// left waits until a candidacy has ended.
func (p *pair) left() {
	p.t.Helper()
	if err := <-p.stood; err != nil {
		p.t.Fatalf("resign %s: %v", p.key, err)
	}
}

// end has the last leader go.
func (p *pair) end() {
	gone := make(chan time.Time, 1)
	p.leave <- gone
	p.left()
}

// goLeader is the handover of heyvito/go-leader with Wait 1 s, in milliseconds, measured elsewhere on a like machine.
const goLeader = 584

// measureHandover measures how long it takes from the call that resigns to the first line of the next leader's own
// code, where that has waited for a while. Ours is the whole Election, with Run.
func measureHandover(t *testing.T, r *run) {
	for _, m := range r.matches() {
		h := handovers{match: m, key: "handover", repeats: pick(r, 2, 300), settle: 250 * time.Millisecond}
		line := row{Measure: "handover", Store: m.store, Unit: "ms", Peer: m.theirs[0].name, Spread: true}
		switch m.store {
		case "Redis":
			h.repeats, h.phase = pick(r, 2, 60), time.Second
			line.Target = "≥ 50 × faster than go-leader's 584 ms"
			line.Ours, line.Theirs = h.measure(t, r)
			line.Met = verdict(line.Ours.median() <= goLeader/50)
		case "Kubernetes":
			h.repeats, h.phase = pick(r, 1, 30), 3*time.Second
			line.Target = "≥ 100 × faster"
			line.Ours, line.Theirs = h.measure(t, r)
			line.Met, line.Note = verdict(line.ratio(0.5) <= 0.01), onEtcd(m)
		default:
			line.Target = "≤ 1.0 × theirs, median and p99"
			line.Ours, line.Theirs = h.measure(t, r)
			line.Met = verdict(line.ratio(0.5) <= 1 && line.ratio(0.99) <= 1)
		}
		r.table.add(line)
		if m.store == "etcd" {
			// etcd serves a watch that begins at a past revision every 100 ms only, and its own recipe asks for one. Who
			// has waited for longer than that does not notice.
			h.key, h.repeats, h.settle = "queued", pick(r, 2, 100), 5*time.Millisecond
			line.Case, line.Target, line.Met = "just queued", "", ""
			line.Ours, line.Theirs = h.measure(t, r)
			r.table.add(line)
		}
	}
}

// handovers says how to measure some.
type handovers struct {
	match
	key     string
	repeats int
	settle  time.Duration // how long all wait before
	phase   time.Duration // a random part of this, too, so that no poll comes at a moment that suits it
}

// measure hands over on both sides by turns.
func (h handovers) measure(t *testing.T, r *run) (ours, theirs figures) {
	const ttl = 15 * time.Second
	pairs := [2]*pair{
		newPair(t, r.store(h.ours.store), h.ours, "bench/"+h.key+"/ours-"+h.store, ttl),
		newPair(t, r.store(h.store), h.theirs[0], "bench/"+h.key+"/theirs", ttl),
	}
	for i := range h.repeats {
		pairs[0].stand()
		pairs[1].stand()
		wait := h.settle
		if h.phase > 0 {
			wait += rand.N(h.phase)
		}
		<-time.After(wait)
		for k := range pairs {
			side := (i + k) % 2 // who goes first changes, too
			took := float64(pairs[side].handover()) / float64(time.Millisecond)
			if side == 0 {
				ours = append(ours, took)
			} else {
				theirs = append(theirs, took)
			}
		}
	}
	pairs[0].end()
	pairs[1].end()
	return ours, theirs
}
