package consul

import (
	"context"
	"time"
)

// Who stops listening to a key that is held here is about to give it up, as a rule. The deletion of the key then ends the query by
// itself, and its connection is used again. To break the query off before costs the connection and, as the deletion waits for
// that, time in which nobody leads. So when the last one who listened has left, the query goes on for a moment, on a few keys at a time. It
// belongs to the term: a call that ends the term sees the end of the query too, and so does Close. It counts as one of those that block
// (WithMaxQueries), and other keys may have it.

const (
	// lingering is how long a query goes on at most for nobody.
	lingering = 100 * time.Millisecond

	// maxLingering is how many do.
	maxLingering = 8

	// wakeTime is how long a query may take to tell of what was answered already.
	wakeTime = 20 * time.Millisecond
)

// endSoon ends a query in a moment, if nothing else does before. Backend.mu is held.
func (a *asking) endSoon() {
	if a.soon == nil {
		a.soon = time.AfterFunc(lingering, a.cancel)
	}
}

// goOn takes back endSoon. Backend.mu is held.
func (a *asking) goOn() {
	if a.soon != nil {
		a.soon.Stop()
		a.soon = nil
	}
}

// linger lets the query on a key go on for a moment, though nobody listens, and reports whether it does. b.mu is held.
func (b *Backend) linger(s *sight) bool {
	if b.lingers(s) {
		return true
	}
	if s.asking == nil || !s.query || !b.holds(s.key) || len(b.lingering) >= maxLingering || b.calls.Closed() {
		return false
	}
	delete(b.sights, s.key)
	b.lingering[s.key] = s
	s.asking.endSoon()
	return true
}

// lingers reports whether the query on a key goes on for nobody. b.mu is held.
func (b *Backend) lingers(s *sight) bool { return b.lingering[s.key] == s }

// recall returns the key whose query lingers, if it does, for somebody who listens. b.mu is held.
func (b *Backend) recall(key string) *sight {
	s := b.lingering[key]
	if s == nil {
		return nil
	}
	delete(b.lingering, key)
	s.known = false // as nobody was there to be told of what this Backend has changed
	s.asking.goOn()
	return s
}

// lingered lets go of a key, as its query has ended. b.mu is held.
func (b *Backend) lingered(s *sight) {
	delete(b.lingering, s.key)
	b.yield(s)
	b.share()
}

// seeOff sees the end of the query that lingers on a key, if one does: it is about to tell of what was just done to the key, or is ended.
func (b *Backend) seeOff(ctx context.Context, key string) {
	b.mu.Lock()
	s := b.lingering[key]
	if s == nil {
		b.mu.Unlock()
		return
	}
	a := s.asking
	b.mu.Unlock()
	patience := time.NewTimer(wakeTime)
	defer patience.Stop()
	select {
	case <-a.done:
		return
	case <-patience.C:
	case <-ctx.Done():
	}
	b.mu.Lock()
	mine := b.lingers(s) // and nobody listens again
	if mine {
		a.cancel()
	}
	b.mu.Unlock()
	if mine {
		<-a.done
	}
}

// seeAllOff ends all queries that linger.
func (b *Backend) seeAllOff() {
	b.mu.Lock()
	ending := make([]*asking, 0, len(b.lingering))
	for _, s := range b.lingering {
		ending = append(ending, s.asking)
	}
	b.mu.Unlock()
	for _, a := range ending {
		a.cancel()
	}
	for _, a := range ending {
		<-a.done
	}
}
