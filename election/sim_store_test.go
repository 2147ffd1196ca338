package election

import (
	"slices"
	"time"
)

// simStore is one key of a store in true time. It decides at once and in order (A1), by its own clock.
type simStore struct {
	w       *world
	holder  *simRecord
	waiting []*simRecord // of a store that queues
	tokens  uint64
	rev     uint64 // of every change of leader or value
	locked  time.Duration

	hopefuls  []*candidacy // of a store that does not: who wants to be woken
	observers []*observation
	listening []*candidacy // who waits to be told of its loss

	down, denied, full, silent, repeat int // faults under way
	past                               []simState
	news                               []answer // what observers were told last, for servers that are behind
	renewals                           int
	changedAt                          time.Duration
}

// simRecord is one candidacy as the store knows it.
type simRecord struct {
	c       *candidacy // whose it is, nil for a foreign hand's
	id      uint64
	value   []byte
	token   uint64
	expires time.Duration
}

// simState is what a failover may go back to.
type simState struct {
	holder  *simRecord
	waiting []*simRecord
	tokens  uint64
}

func newSimStore(w *world) *simStore { return &simStore{w: w} }

type opKind uint8

const (
	opAcquire  opKind = iota // join the queue, or try
	opCheck                  // do I hold it? and keep me alive
	opRenew                  // extend, if it is mine
	opProclaim               // another value, if it is mine
	opRemove                 // take me out, if I am in
	opRead                   // who leads?
	opCount
)

var opNames = [opCount]string{"acquire", "check", "renew", "proclaim", "remove", "read"}

type request struct {
	op    opKind
	by    *host
	c     *candidacy
	value []byte
}

// answer is what the store says. err is how the backend will report it.
type answer struct {
	won    bool
	gone   bool // the record is not there
	token  uint64
	ttl    time.Duration
	leader leader
	rev    uint64
	wait   time.Duration // when it is worth trying again
	err    error
}

// apply carries out one request, atomically.
func (s *simStore) apply(r request) answer {
	w := s.w
	s.sweep()
	if s.denied > 0 {
		return answer{err: errSimDenied}
	}
	if s.full > 0 && (r.op == opAcquire || r.op == opProclaim || r.op == opRemove) {
		return answer{err: errSimFull}
	}
	w.note(nil, opNames[r.op], r.c.number())
	switch r.op {
	case opAcquire:
		return s.acquire(r)
	case opCheck:
		rec := s.find(r.c.id)
		if rec == nil {
			return answer{gone: true}
		}
		s.extend(rec)
		return s.told(rec)
	case opRenew:
		rec := s.own(r.c)
		if w.planted == plantRenewByName {
			rec = s.holder
		}
		s.renewals++
		if rec == nil {
			if w.planted == plantRenewUnproven { // the session lives, that must do
				return answer{won: true, token: r.c.token, ttl: w.granted}
			}
			return answer{gone: true}
		}
		w.check.renewing(r.c, rec)
		s.extend(rec)
		return answer{won: true, token: rec.token, ttl: w.granted}
	case opProclaim:
		rec := s.own(r.c)
		if rec == nil {
			return answer{gone: true}
		}
		if w.planted == plantProclaimUnwritten {
			return answer{won: true}
		}
		rec.value = r.value
		w.check.took(r.c, r.value)
		s.changed()
		return answer{won: true}
	case opRemove:
		rec := s.find(r.c.id)
		if w.planted == plantRemoveByName && rec == nil {
			rec = s.holder
		}
		if rec != nil {
			w.check.removing(r.c, rec)
			s.drop(rec)
		}
		return answer{gone: true}
	default: // opRead
		if r.by.stale > 0 {
			return r.by.old
		}
		return answer{leader: s.leader(), rev: s.rev}
	}
}

func (s *simStore) leader() leader {
	if s.holder == nil {
		return leader{}
	}
	return leader{Value: s.holder.value, Token: s.holder.token}
}

func (s *simStore) find(id uint64) *simRecord {
	if s.holder != nil && s.holder.id == id {
		return s.holder
	}
	for _, r := range s.waiting {
		if r.id == id {
			return r
		}
	}
	return nil
}

// own is the record by which c leads, if it does.
func (s *simStore) own(c *candidacy) *simRecord {
	if s.holder != nil && s.holder.id == c.id && s.holder.token == c.token {
		return s.holder
	}
	return nil
}

func (s *simStore) acquire(r request) answer {
	rec := s.find(r.c.id)
	switch {
	case rec != nil: // an earlier request of this candidacy did arrive
		s.extend(rec)
	case s.w.profile.queue:
		rec = &simRecord{c: r.c, id: r.c.id, value: r.value}
		if s.w.profile.early {
			rec.token = s.mint()
		}
		s.extend(rec)
		s.waiting = append(s.waiting, rec)
		s.promote()
	case s.holder != nil || s.w.now < s.locked:
		if !slices.Contains(s.hopefuls, r.c) {
			s.hopefuls = append(s.hopefuls, r.c)
		}
		wait := s.locked - s.w.now
		if s.holder != nil {
			wait = s.holder.expires - s.w.now
		}
		return answer{wait: max(wait, 0) + time.Millisecond}
	default:
		rec = &simRecord{c: r.c, id: r.c.id, value: r.value, token: s.mint()}
		s.extend(rec)
		s.enthrone(rec)
	}
	return s.told(rec)
}

func (s *simStore) told(rec *simRecord) answer {
	return answer{won: rec == s.holder, token: rec.token, ttl: s.w.granted}
}

func (s *simStore) mint() uint64 {
	s.tokens += 1 + uint64(s.w.rnd.IntN(3))
	if s.w.planted == plantTokenReset && s.w.chance(4) {
		s.tokens = 1
	}
	return s.tokens
}

// extend lets rec live for another TTL, by the store's clock and granularity, and not a moment less.
func (s *simStore) extend(rec *simRecord) {
	w := s.w
	ttl := w.granted * time.Duration(w.profile.stretch)
	if w.planted == plantTruncatedTTL {
		ttl = ttl * 8 / 10
	}
	ttl += w.upTo(w.profile.granularity)
	// What was granted before stands, also when less is granted now.
	rec.expires = max(rec.expires, w.now+ttl-time.Duration(int64(ttl)*w.storePPM/1_000_000))
	w.at(rec.expires, s.sweep)
}

// sweep ends what is due.
func (s *simStore) sweep() {
	now := s.w.now
	s.waiting = slices.DeleteFunc(s.waiting, func(r *simRecord) bool { return r.expires <= now })
	if s.holder != nil && s.holder.expires <= now {
		s.end(s.holder, "expired")
	}
	if now >= s.locked {
		s.promote()
	}
}

// end is how a record goes that was not given up: a lock-delay follows.
func (s *simStore) end(rec *simRecord, why string) {
	if rec == nil {
		return
	}
	s.w.note(nil, why, rec.token)
	if d := s.w.profile.lockDelay; d > 0 {
		s.locked = s.w.now + d
		s.w.at(s.locked, s.vacated)
	}
	s.drop(rec)
}

// drop takes a record out.
func (s *simStore) drop(rec *simRecord) {
	if rec != s.holder {
		s.waiting = slices.DeleteFunc(s.waiting, func(r *simRecord) bool { return r == rec })
		return
	}
	s.holder = nil
	for _, c := range s.listening {
		if c.id == rec.id && !s.w.profile.mute {
			s.push(c.client.p, func() { c.client.lost(c) })
		}
	}
	s.remember()
	s.changed()
	s.vacated()
}

// vacated lets the next one in, or wakes those who wait to try.
func (s *simStore) vacated() {
	s.promote()
	if s.holder != nil || s.w.profile.queue {
		return
	}
	for _, c := range s.hopefuls {
		s.push(c.client.p, func() { c.client.woken(c) })
	}
}

func (s *simStore) promote() {
	if s.holder != nil || len(s.waiting) == 0 || s.w.now < s.locked {
		return
	}
	rec := s.waiting[0]
	s.waiting = s.waiting[1:]
	if rec.token == 0 {
		rec.token = s.mint()
	}
	s.enthrone(rec)
	if c := rec.c; c != nil {
		s.push(c.client.p, func() { c.client.woken(c) })
	}
}

func (s *simStore) enthrone(rec *simRecord) {
	s.holder = rec
	s.w.check.enthroned(rec)
	s.remember()
	s.changed()
}

// changed tells the observers.
func (s *simStore) changed() {
	s.rev++
	s.changedAt = s.w.now
	l, rev := s.leader(), s.rev
	if s.news = append(s.news, answer{leader: l, rev: rev}); len(s.news) > 4 {
		s.news = s.news[1:]
	}
	for _, o := range s.observers {
		if o.client.p.h.stale == 0 {
			s.push(o.client.p, func() { o.yield(l, rev) })
		}
	}
}

// push sends something that nobody asked for just now. Watches are hints: they may be silent, late,
// repeated and out of order.
func (s *simStore) push(p *process, f func()) {
	w := s.w
	if p.dead || s.silent > 0 || s.down > 0 || p.h.cutFrom > 0 {
		return
	}
	copies := 1
	if s.repeat > 0 {
		copies += w.rnd.IntN(3)
	}
	for range copies {
		delay := w.delay(p.h)
		if s.repeat > 0 {
			delay += w.upTo(w.ttl / 2)
		}
		w.at(w.snapped(p, w.now+delay), func() { p.receive(f) })
	}
}
