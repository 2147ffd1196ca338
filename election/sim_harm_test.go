package election

import (
	"slices"
	"time"
)

// What operators, foreign hands and failing servers do to the store.

// restartLeases is what a safe failover does: the new server gives every lease its full time again.
func (s *simStore) restartLeases() {
	if s.holder != nil {
		s.extend(s.holder)
	}
	for _, r := range s.waiting {
		s.extend(r)
	}
}

// remember keeps the last states for a failover that goes back to one of them.
func (s *simStore) remember() {
	if s.w.trust {
		return
	}
	s.past = append(s.past, simState{s.holder, slices.Clone(s.waiting), s.tokens})
	if len(s.past) > 8 {
		s.past = s.past[1:]
	}
}

// forget goes back over the last n acknowledged changes of leader; those who have joined the queue since are
// forgotten, and those who had left it are in it again.
func (s *simStore) forget(n int) {
	if len(s.past) == 0 {
		return
	}
	back := s.past[max(0, len(s.past)-1-n)]
	s.holder, s.waiting, s.tokens = back.holder, back.waiting, back.tokens
	s.past = nil
	s.restartLeases()
	s.changed()
	if s.holder == nil {
		s.vacated()
	}
}

// revoke ends somebody's session, and with it all that it wrote.
func (s *simStore) revoke(n int64) {
	if i := int(n % int64(2+len(s.waiting))); i < len(s.waiting) {
		s.end(s.waiting[i], "revoked")
		return
	}
	s.end(s.holder, "revoked")
}

// jump is a store whose clock was set forward by more than any lease lasts.
func (s *simStore) jump() {
	s.waiting = nil
	s.end(s.holder, "expired, by a clock that was set")
}

// delete is an operator's: no lock-delay follows.
func (s *simStore) delete() {
	if s.holder != nil {
		s.w.note(nil, "deleted", s.holder.token)
		s.drop(s.holder)
	}
}

// usurp puts a foreign record in the holder's place, for a while.
func (s *simStore) usurp() {
	if s.w.profile.early {
		return // there the order of the queue is the order of the tokens, whoever joins
	}
	old := s.holder
	rec := &simRecord{id: 1 << 60, value: []byte("foreign"), token: s.mint()}
	rec.expires = s.w.now + s.w.upTo(s.w.ttl)
	s.w.at(rec.expires, s.sweep)
	if old != nil {
		for _, c := range s.listening {
			if c.id == old.id {
				s.push(c.client.p, func() { c.client.lost(c) })
			}
		}
	}
	s.enthrone(rec)
}

// hand is the longest that an honest message takes when nothing is wrong.
const hand = 20 * time.Millisecond

// delay draws how long a message takes.
func (w *world) delay(h *host) time.Duration {
	d := time.Millisecond + w.upTo(hand)
	if h.slow > 0 {
		d += w.upTo(w.ttl)
	}
	return d
}

// lost says whether a message on its way is lost, with the host's faults in that direction.
func (w *world) lost(h *host, cut int) bool {
	if cut > 0 || h.drop > 0 && w.chance(2) {
		return true
	}
	return !w.calm && w.chance(w.lossy)
}

// snapped moves a moment of arrival to one that hurts: just when a deadline of the process is due, or a
// breath before or after it, so that what is rare elsewhere is frequent here.
func (w *world) snapped(p *process, at time.Duration) time.Duration {
	if w.calm || p.finished || p.h.frozen || !w.chance(w.snap) {
		return at
	}
	m := p.d.m
	ds := [...]deadline{m.softAt, m.hardAt, m.renewAt, m.drainAt, m.retryAt, m.waitAt, m.observeAt, p.client.bound()}
	d := ds[w.rnd.IntN(len(ds))]
	if !d.set {
		return at
	}
	left := d.left(p.h.instant())
	if left <= 0 || left > w.ttl {
		return at
	}
	breath := [...]time.Duration{0, 0, -1, 1, -time.Millisecond, time.Millisecond}[w.rnd.IntN(6)]
	return max(at, w.now+p.h.clock.takes(left)+breath)
}
