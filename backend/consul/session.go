package consul

import (
	"context"
	"errors"
	"fmt"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/flight"
)

// session is one session in Consul, which holds the keys of all candidacies of the Backend. It has no
// goroutine: who waits on it, or renews a term of it, keeps it alive, and with nobody left it expires.
// Fields that change are guarded by Backend.mu.
type session struct {
	id string

	grant     backend.Grant // the latest promise
	renewing  *flight.Slot  // renewals
	members   map[*candidacy]struct{}
	leftovers map[*candidacy]struct{}
	spent     bool          // a write of unknown fate may still arrive: takes no new candidacies
	over      bool          // expired or destroyed: it holds nothing any more, nor can it
	lost      chan struct{} // closed with over
	surveys   surveys
}

// candidacy is one campaign for a key and what comes of it. It is a member of its session while it waits
// or leads, and a leftover once it was given up but may still hold the key in the store.
type candidacy struct {
	key     string
	session *session
	written bool          // its session may hold the key, or the sibling
	index   uint64        // the key's modify index, as this candidacy wrote it last; 0 while it is not known
	token   uint64        // the sibling's modify index; 0 while it is not known
	leads   bool          // won: grant says until when
	grant   backend.Grant // the latest one handed out for this term
	gone    bool          // no longer a member: nobody campaigns or leads with it
	since   backend.Instant

	unchanged uint64 // what a list of keys told last before this term was proved by itself, or 0
	surveyed  uint64 // the latest survey that proved it
}

func over(now backend.Instant, g backend.Grant) bool { return now.Since(g.Sent) >= g.TTL }

// fresh is how old a renewal may be to serve another caller: a fifth of the TTL. Renewals of several elections
// that fall within it share one request, and from then on have one rhythm; as it is more than half of the
// 35 % of the TTL between two renewals of an election, any two fall within it sooner or later.
func (s *session) fresh(now backend.Instant) bool { return now.Since(s.grant.Sent) < s.grant.TTL/5 }

// join makes c a candidacy of a session that is alive and was heard of just now, making one if need be.
func (b *Backend) join(ctx context.Context, c *candidacy) error {
	for {
		b.mu.Lock()
		b.prune()
		s := b.current
		if s == nil {
			f := b.opening.Board(ctx)
			b.mu.Unlock()
			if err := f.Await(ctx); err != nil {
				return err
			}
			continue
		}
		s.members[c] = struct{}{}
		c.session = s
		if s.fresh(backend.Now()) {
			b.mu.Unlock()
			return nil
		}
		f := s.renewing.Board(ctx)
		b.mu.Unlock()
		err := f.Await(ctx)
		if err == nil {
			return nil
		}
		b.mu.Lock()
		delete(s.members, c)
		again := s.over
		b.mu.Unlock()
		if !again {
			return err
		}
	}
}

// prune lets go of sessions that no longer matter: the current one when it may not take candidacies or
// was left to expire, others when they have neither members nor leftovers, or died long ago. b.mu is held.
func (b *Backend) prune() {
	now := backend.Now()
	if s := b.current; s != nil && (s.over || s.spent || len(s.members) == 0 && over(now, s.grant)) {
		b.current = nil
	}
	for s := range b.sessions {
		// Consul ends a session after two TTLs, and counts them anew when its servers change their leader.
		const longAgo = 6
		forgotten := len(s.leftovers) == 0 || now.Since(s.grant.Sent) > longAgo*s.grant.TTL
		if s != b.current && len(s.members) == 0 && forgotten {
			delete(b.sessions, s)
		}
	}
}

// open makes a session and makes it the current one. One whose answer was lost holds nothing, and expires.
func (b *Backend) open(ctx context.Context) error {
	sent := backend.Now()
	id, err := b.createSession(ctx)
	if err != nil {
		return err
	}
	s := &session{
		id:        id,
		grant:     backend.Grant{Sent: sent, TTL: b.ttl},
		members:   make(map[*candidacy]struct{}),
		leftovers: make(map[*candidacy]struct{}),
		lost:      make(chan struct{}),
	}
	s.renewing = flight.New(func(ctx context.Context) error { return b.keepAlive(ctx, s) }, b.renewing)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current = s
	b.sessions[s] = struct{}{}
	return nil
}

// pulse keeps s alive for one candidate that waits.
func (b *Backend) pulse(s *session) *flight.Pulse {
	return flight.NewPulse(s.renewing, func() (backend.Grant, bool) {
		b.mu.Lock()
		defer b.mu.Unlock()
		return s.grant, s.over
	}, classify)
}

// keepAlive renews s once, unless it holds something that must not be kept alive and could not be given
// up for a TTL: then the session, and all that it holds, is left to expire.
func (b *Backend) keepAlive(ctx context.Context, s *session) error {
	if err := b.sweep(ctx, s); err != nil {
		return err
	}
	b.gather(ctx, s)
	sent := backend.Now()
	err := b.renewSession(ctx, s.id)
	b.mu.Lock()
	switch {
	case errors.Is(err, errSessionLost):
		b.bury(s)
	case err == nil:
		// Consul may name a longer TTL than was asked for, to be renewed less often; never a shorter one.
		s.grant = backend.Grant{Sent: sent, TTL: b.ttl}
	}
	b.mu.Unlock()
	if err != nil {
		return err
	}
	b.survey(ctx, s)
	return nil
}

// sweep gives up what s holds and must not be kept alive with it: leftovers, and terms whose election let
// them run out, which on a session that is shared would otherwise never end.
func (b *Backend) sweep(ctx context.Context, s *session) error {
	b.mu.Lock()
	now := backend.Now()
	for c := range s.members {
		if c.leads && over(now, c.grant) {
			b.give(c, c.grant.Sent)
		}
	}
	stale := make([]*candidacy, 0, len(s.leftovers))
	for c := range s.leftovers {
		stale = append(stale, c)
	}
	ttl := s.grant.TTL
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, b.renewing/2) // the rest is for the renewal itself
	defer cancel()
	for _, c := range stale {
		if err := b.remove(ctx, c); err != nil && now.Since(c.since) >= ttl {
			return fmt.Errorf("the session is not renewed, because the key %s could not be given up: %w", c.key, err)
		}
	}
	return nil
}

// give takes c off its session's members: it campaigns and leads no more, and what it holds counts as a
// leftover, given up at since, until it is known to be gone. b.mu must be held.
func (b *Backend) give(c *candidacy, since backend.Instant) {
	if c.gone {
		return
	}
	c.gone, c.since = true, since
	if b.standing[c.key] == c {
		delete(b.standing, c.key)
		if seen := b.sights[c.key]; seen != nil {
			b.arrange(seen) // as no proof tells of it any more
		}
	}
	if c.leads {
		b.terms--
		b.share()
	}
	if c.session == nil {
		return
	}
	delete(c.session.members, c)
	if !c.session.over && c.written {
		c.session.leftovers[c] = struct{}{}
	}
}

// bury notes that s is gone for good. b.mu must be held.
func (b *Backend) bury(s *session) {
	if s.over {
		return
	}
	s.over = true
	close(s.lost)
	for c := range s.members {
		b.touch(c.key)
	}
	clear(s.leftovers)
	delete(b.sessions, s)
	if b.current == s {
		b.current = nil
	}
}

// remove gives up what c holds in the store and nothing of any other candidacy, and forgets c when it is
// known to be gone. Without an error, it is gone.
func (b *Backend) remove(ctx context.Context, c *candidacy) error {
	s := c.session
	b.mu.Lock()
	index, token, done := c.index, c.token, s.over || !c.written
	b.mu.Unlock()
	if done {
		return nil
	}
	if token != 0 {
		_, err := b.commit(ctx, releasing(c.key, index, token))
		if err == nil || !failedCheck(err) {
			return b.removed(c, err)
		}
	}
	err := b.clear(ctx, c)
	if errors.Is(err, errChanged) {
		// Most likely by another call of this term, which found it over at the same moment.
		err = b.clear(ctx, c)
	}
	return b.removed(c, err)
}

// removed notes that c holds nothing, if err is nil. Only a write that was answered cannot arrive later
// still: the other kind is looked for again with every renewal, and dies with the session.
func (b *Backend) removed(c *candidacy, err error) error {
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.touch(c.key)
	if c.token != 0 {
		c.written = false
		delete(c.session.leftovers, c)
	}
	return nil
}

// clear reads what there is and gives up what is left of c: all, if nobody knows whether it was written; or
// one half, if somebody took the other away.
func (b *Backend) clear(ctx context.Context, c *candidacy) error {
	r, err := b.read(ctx, c.key)
	if err != nil {
		return err
	}
	b.mu.Lock()
	// A later candidacy on the same session: what there is is its own, as it began after c had ended.
	successor := b.standing[c.key]
	inherited := successor != nil && successor != c && successor.session == c.session
	b.mu.Unlock()
	if inherited && r.lead.Session == c.session.id {
		return nil
	}
	txn := clearing(c.key, c.session.id, r)
	if txn == nil {
		return nil
	}
	_, err = b.commit(ctx, txn)
	if failedCheck(err) {
		return fmt.Errorf("%w: %w", errChanged, err)
	}
	return err
}

// tidy gives up what earlier candidacies for key may still hold.
func (b *Backend) tidy(ctx context.Context, key string) error {
	b.mu.Lock()
	var stale []*candidacy
	for s := range b.sessions {
		for c := range s.leftovers {
			if c.key == key {
				stale = append(stale, c)
			}
		}
	}
	b.mu.Unlock()
	for _, c := range stale {
		if err := b.remove(ctx, c); err != nil {
			return fmt.Errorf("giving up what an earlier candidacy holds: %w", err)
		}
		b.settle(ctx, c.session) // if it failed before
	}
	return nil
}

// settle ends s in the store if nobody stands on it any more and nobody will: the Backend is closed, or
// the session is spent. What cannot be destroyed within one bounded try is never renewed again, and expires.
func (b *Backend) settle(ctx context.Context, s *session) {
	b.mu.Lock()
	idle := len(s.members) == 0 && (b.calls.Closed() || s.spent) && !s.over
	if idle && b.current == s {
		b.current = nil
	}
	b.mu.Unlock()
	if !idle {
		return
	}
	err := b.destroySession(ctx, s.id)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.bury(s)
	}
}
