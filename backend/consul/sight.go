package consul

import (
	"context"
	"slices"
	"time"
)

// A Backend looks at each key once for all who wait for it, observe it, or hold it. As a query that blocks has a
// connection to itself, of which an agent allows few, there are so many and no more. Keys that get none are looked at
// together, now and then; and not even that is needed while the key is held here, as its proofs tell what becomes of it.

// heldQueries is on how many keys that are held here a query blocks at most, if more are held than could have one. They tell of
// the loss of the session, and the proofs of all else.
const heldQueries = 8

// sight is a key that is looked at. Its fields are guarded by Backend.mu.
type sight struct {
	key       string
	listeners []*listener
	last      view
	known     bool   // last is what was seen last, and nothing speaks against it
	turn      uint64 // counts what there was to tell
	seen      time.Time

	query  bool // it has one of the queries
	inLine bool // for one that gets free
	asking *asking
}

// asking is a query under way.
type asking struct {
	cancel  context.CancelFunc
	done    chan struct{}
	patient bool        // it blocks for long, because the key is held here
	soon    *time.Timer // ends it, or nil
}

// listener is one who is told of changes. Its fields are guarded by Backend.mu.
type listener struct {
	s     *sight
	call  func() // tells that there is something to take; it does not block
	turn  uint64 // of what was taken last
	wants bool
	err   error // the end of it
}

// listen begins to look at key for somebody, who is called after the next want. What they know of it already, if anything,
// saves the first look. Each listen is followed by a leave; a second one is nothing.
func (b *Backend) listen(key string, known *view, call func()) *listener {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.sights[key]
	if s == nil {
		if s = b.recall(key); s == nil {
			s = &sight{key: key, seen: time.Now()}
		}
		b.sights[key] = s
	}
	l := &listener{s: s, call: call, turn: s.turn}
	s.listeners = append(s.listeners, l)
	switch {
	case known != nil:
		b.compareWith(l, *known)
	case s.known:
		l.turn-- // that is news
	}
	return l
}

// found takes what a listener has seen by itself, which is newer than what it was told, unless there is news.
func (b *Backend) found(l *listener, v view) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.compareWith(l, v)
}

// compareWith puts what a listener has seen beside what is known, and has the older give way. A view of a transaction has
// no index. b.mu is held.
func (b *Backend) compareWith(l *listener, v view) {
	s := l.s
	switch {
	case l.turn != s.turn:
	case !s.known, !s.query, v.index == 0, v.index > s.last.index:
		v.index = max(v.index, s.last.index)
		b.saw(s, v)
		l.turn = s.turn
	case entryOf(&v.kv) != entryOf(&s.last.kv):
		l.turn--
	}
}

// take returns what is known of the key, if anything is, and whether that is news to l; or the end of l.
func (b *Backend) take(l *listener) (v view, known, news bool, _ error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	news = l.turn != l.s.turn
	l.turn = l.s.turn
	return l.s.last, l.s.known, news, l.err
}

// want has l called once as soon as there is something that it has not taken.
func (b *Backend) want(l *listener) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.err != nil || l.turn != l.s.turn {
		l.call()
		return
	}
	l.wants = true
	b.arrange(l.s)
}

// leave ends l. With the last one, it sees the end of what was asked for them, but for a query that lingers.
func (b *Backend) leave(l *listener) {
	b.mu.Lock()
	s := l.s
	s.listeners = slices.DeleteFunc(s.listeners, func(other *listener) bool { return other == l })
	var ending []<-chan struct{}
	if len(s.listeners) == 0 && !b.linger(s) {
		b.unsee(s)
		b.share()
		if s.asking != nil {
			ending = append(ending, s.asking.done)
		}
	}
	if p := b.passing; p != nil && len(b.sights) == 0 {
		p.cancel()
		ending = append(ending, p.done)
	}
	b.mu.Unlock()
	for _, done := range ending {
		<-done
	}
}

// unsee lets go of a key. b.mu is held.
func (b *Backend) unsee(s *sight) {
	if b.sights[s.key] == s {
		delete(b.sights, s.key)
	}
	b.yield(s)
}

// yield takes the query away from a key. Who gets it next does so with the next look at all that have none: at once, when
// many leave, each would have a connection made and closed. b.mu is held.
func (b *Backend) yield(s *sight) {
	if s.asking != nil {
		s.asking.cancel()
	}
	s.query = false
	delete(b.querying, s)
}

// assign gives the queries that are free to those that have waited longest. b.mu is held.
func (b *Backend) assign() {
	for len(b.querying) < b.maxQueries {
		next := b.line.next(b)
		if next == nil {
			return
		}
		b.grant(next)
		b.arrange(next)
	}
}

func (b *Backend) grant(s *sight) {
	s.query = true
	b.querying[s] = struct{}{}
}

// holds reports whether a candidacy of this Backend leads. b.mu is held.
func (b *Backend) holds(key string) bool {
	c := b.standing[key]
	return c != nil && c.leads
}

// arrange sees to it that who wants to be told of a key is. b.mu is held.
func (b *Backend) arrange(s *sight) {
	if !s.wanted() || b.sights[s.key] != s {
		return
	}
	held := b.holds(s.key)
	switch {
	case held && s.query:
		if next := b.line.next(b); next != nil {
			b.yieldTo(s, next)
			b.arrange(next)
		} else if b.crowded && b.onHeld() > heldQueries {
			b.yield(s)
		}
	case s.query:
	case held && b.crowded && b.onHeld() >= heldQueries:
	case len(b.querying) < b.maxQueries && b.line.empty(b):
		b.grant(s)
	case !held:
		for other := range b.querying {
			if b.holds(other.key) || b.lingers(other) { // which can do without
				b.yieldTo(other, s)
				break
			}
		}
	}
	switch {
	case s.asking != nil:
		if s.asking.patient && !held {
			s.asking.endSoon() // there is another when it has ended
		}
	case s.query:
		b.ask(s)
	case !held:
		b.line.join(b, s)
		b.pass()
	}
}

// onHeld counts the queries on keys that are held here. b.mu is held.
func (b *Backend) onHeld() (n int) {
	for s := range b.querying {
		if b.holds(s.key) {
			n++
		}
	}
	return n
}

// share has the keys that are held here give queries up when there are more than could have one, and take them again when
// there are half as many. b.mu is held.
func (b *Backend) share() {
	switch {
	case !b.crowded && b.terms > b.maxQueries:
		b.crowded = true
		for s := range b.querying {
			if b.holds(s.key) {
				b.arrange(s)
			}
		}
		return
	case b.crowded && b.terms <= b.maxQueries/2:
		b.crowded = false
	case !b.crowded || b.onHeld() >= heldQueries:
		return
	}
	for _, s := range b.sights {
		switch {
		case s.query || !b.holds(s.key):
			continue
		case len(b.querying) >= b.maxQueries, b.crowded && b.onHeld() >= heldQueries:
			return
		}
		b.arrange(s)
	}
}

// yieldTo takes the query of one key for another. b.mu is held.
func (b *Backend) yieldTo(from, to *sight) {
	b.yield(from)
	b.grant(to)
}

func (s *sight) wanted() bool {
	for _, l := range s.listeners {
		if l.wants {
			return true
		}
	}
	return false
}

// ask begins a query. b.mu is held.
func (b *Backend) ask(s *sight) {
	//nolint:forbidigo // it is for many, and ends with the last of them
	ctx, cancel := context.WithCancel(context.Background())
	a := &asking{cancel: cancel, done: make(chan struct{})}
	s.asking = a
	go func() {
		defer close(a.done)
		defer cancel()
		for b.query(ctx, s, a) {
		}
	}()
}

// query blocks until there is something to tell, or for a while, and reports whether to go on.
func (b *Backend) query(ctx context.Context, s *sight, a *asking) bool {
	b.mu.Lock()
	index, block := s.last.index, b.block
	if a.patient = b.holds(s.key); a.patient {
		block = max(block, heldBlock)
	}
	b.mu.Unlock()
	now, err := b.watch(ctx, s.key, index, block)
	b.mu.Lock()
	defer b.mu.Unlock()
	a.goOn() // it is over, and another one is another matter
	switch {
	case ctx.Err() != nil:
	case err != nil:
		b.fail(s, err)
	default:
		b.saw(s, now)
		if s.wanted() {
			return true
		}
	}
	s.asking = nil
	if b.lingers(s) {
		b.lingered(s)
	}
	b.arrange(s)
	return false
}

// saw tells of a key what was seen, if it is news. b.mu is held.
func (b *Backend) saw(s *sight, now view) {
	news := !s.known || entryOf(&now.kv) != entryOf(&s.last.kv)
	s.last, s.known, s.seen = now, true, time.Now()
	s.last.kv.Value = nil // which may be large, and is read by those who need it
	if news {
		s.tell()
	}
}

// tell calls all who listen. Backend.mu is held.
func (s *sight) tell() {
	s.turn++
	for _, l := range s.listeners {
		if l.wants {
			l.wants = false
			l.call()
		}
	}
}

// fail ends all who listen to a key. b.mu is held.
func (b *Backend) fail(s *sight, err error) {
	b.unsee(s)
	for _, l := range s.listeners {
		l.err = err
	}
	s.tell()
}

// touch tells those who listen to key that this Backend itself has changed something about it, or may have. b.mu is
// held.
func (b *Backend) touch(key string) {
	s := b.sights[key]
	if s == nil {
		return
	}
	s.known = false
	s.tell()
	b.arrange(s)
}

// doubt has the terms of a session that no query tells of looked at, because another one was lost. b.mu is held.
func (b *Backend) doubt(s *session) {
	for c := range s.members {
		if seen := b.sights[c.key]; c.leads && seen != nil && !seen.query {
			b.touch(c.key)
		}
	}
}
