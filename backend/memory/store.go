package memory

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// store is what all sessions share. It has no goroutine: it moves when a call reaches it and when a
// record's timer fires. The mutex is held for a few instructions only, never across a wait.
type store struct {
	calls atomic.Int64

	mu    sync.Mutex
	token uint64            // of the newest term; counts up by one, so that MaxInt64 is out of reach
	keys  map[string]*entry // only keys that somebody holds, waits for or watches
}

// entry is one key.
type entry struct {
	holder   *record
	waiting  []*record // first come first served
	watchers int
	changed  chan struct{} // closed and replaced when the leader or its value changes
}

// record is one candidacy in the store, from the queue until the end of the term that came of it. It is
// never used again: a new candidacy is a new record, so that a late call finds its own or none.
type record struct {
	owner *Backend
	key   string
	ttl   time.Duration

	// The rest is guarded by store.mu.

	value    []byte // replaced, never written to
	token    uint64 // 0 while it waits
	standing bool   // in the store: waiting, or holder of the key
	held     bool   // its Campaign has seen it win

	woken, told         chan struct{} // closed when it wins or is gone; when the store tells of its loss
	wokenDone, toldDone bool          // the channel is closed

	timer    *time.Timer
	timed    bool // it ends at deadline; a candidate that is alive has none
	deadline time.Time
}

func newRecord(owner *Backend, key string, value []byte) *record {
	return &record{
		owner: owner,
		key:   key,
		ttl:   owner.ttl,
		value: value,
		woken: make(chan struct{}),
		told:  make(chan struct{}),
	}
}

// at returns the entry of key, made if need be. Whoever may leave it empty calls tidy.
func (s *store) at(key string) *entry {
	e := s.keys[key]
	if e == nil {
		e = &entry{changed: make(chan struct{})}
		s.keys[key] = e
	}
	return e
}

// tidy forgets key if nobody uses it.
func (s *store) tidy(key string) {
	if e := s.keys[key]; e != nil && e.holder == nil && len(e.waiting) == 0 && e.watchers == 0 {
		delete(s.keys, key)
	}
}

// enqueue puts a candidacy at the end of its queue, or on the throne if that is vacant.
func (s *store) enqueue(rec *record, now time.Time) {
	e := s.at(rec.key)
	rec.standing = true
	e.waiting = append(e.waiting, rec)
	s.settle(e, now)
}

// holds reports whether rec holds its key. It looks at the clock, as timers may be late.
func (s *store) holds(rec *record, now time.Time) bool {
	if rec.standing && rec.due(now) {
		s.remove(rec, now)
	}
	return rec.standing && s.keys[rec.key].holder == rec
}

// settle ends what is due, makes the first of the queue the holder if there is none, and tells
// watchers if the leader changed.
func (s *store) settle(e *entry, now time.Time) {
	before := e.holder
	if before != nil && before.due(now) {
		e.holder = nil
		before.end()
	}
	for e.holder == nil && len(e.waiting) > 0 {
		next := e.waiting[0]
		e.waiting = slices.Delete(e.waiting, 0, 1)
		if next.due(now) {
			next.end()
			continue
		}
		s.token++
		next.token = s.token
		if !next.timed { // else it is cut off, and ends when it would have
			s.arm(next, now)
		}
		e.holder = next
		next.wake()
	}
	if e.holder != before {
		e.tell()
	}
}

// remove takes rec out of the store, from the throne or from the queue. It may be gone already.
func (s *store) remove(rec *record, now time.Time) {
	if !rec.standing {
		return
	}
	e := s.keys[rec.key]
	rec.end()
	if e.holder == rec {
		e.holder = nil
		e.tell()
	} else if i := slices.Index(e.waiting, rec); i >= 0 {
		e.waiting = slices.Delete(e.waiting, i, i+1)
	}
	s.settle(e, now)
	s.tidy(rec.key)
}

// arm makes rec end one TTL from now.
func (s *store) arm(rec *record, now time.Time) {
	rec.timed = true
	rec.deadline = now.Add(rec.ttl)
	if rec.timer != nil {
		rec.timer.Reset(rec.ttl)
		return
	}
	rec.timer = time.AfterFunc(rec.ttl, func() { s.lapse(rec) })
}

// lapse is what a record's timer does. It may have fired just before it was stopped or set anew.
func (s *store) lapse(rec *record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); rec.standing && rec.due(now) {
		s.remove(rec, now)
	}
}

// disarm lets rec stand without end.
func (r *record) disarm() {
	r.timed = false
	if r.timer != nil {
		r.timer.Stop()
	}
}

func (r *record) due(now time.Time) bool { return r.timed && !now.Before(r.deadline) }

// end marks rec as gone from the store, and lets its session forget it.
func (r *record) end() {
	r.standing = false
	r.disarm()
	r.wake()
	if r.held && r.owner.mine[r.key] == r {
		delete(r.owner.mine, r.key)
	}
	if r.owner.leftovers[r.key] == r {
		delete(r.owner.leftovers, r.key)
	}
}

func (r *record) wake() {
	if !r.wokenDone {
		r.wokenDone = true
		close(r.woken)
	}
}

// tell makes Wait return.
func (r *record) tell() {
	if !r.toldDone {
		r.toldDone = true
		close(r.told)
	}
}

func (e *entry) tell() {
	close(e.changed)
	e.changed = make(chan struct{})
}
