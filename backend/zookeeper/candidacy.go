package zookeeper

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
)

// candidacy is one node that a campaign created, or may have created. It is a member of its session
// while it waits or leads, and a leftover once it was given up but may still stand in the store.
type candidacy struct {
	key     string
	id      string // unique, and part of the node's name
	session *session

	creating chan struct{} // closed when it is known what became of the node's creation; nil: none was asked for
	path     string        // of the node; "" while it is not known
	written  bool          // the node may stand in the store
	token    int64         // the zxid that created it
	leads    bool          // won: grant says until when
	grant    backend.Grant // the latest one handed out for this term
	gone     bool          // no longer a member: nobody campaigns or leads with it
	since    backend.Instant
}

func newCandidacy(key string) *candidacy {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return &candidacy{key: key, id: hex.EncodeToString(id[:])}
}

// lapsed reports whether the term was not renewed for so long that its record must go. A grant is
// shorter than that: what it was shortened by is no reason to hurry here. b.mu must be held.
func (c *candidacy) lapsed(now backend.Instant) bool {
	return c.leads && !c.gone && now.Since(c.grant.Sent) >= c.session.ttl()
}

// give takes c off its session's members: it campaigns and leads no more, and its node counts as a
// leftover, given up at since, until it is known to be gone. If c was the last term that was granted anything, and nobody answers the
// client's greetings, the session is ended: they may be all that keeps the key taken. b.mu must be held.
func (b *Backend) give(c *candidacy, since backend.Instant) {
	if c.gone {
		return
	}
	c.gone, c.since = true, since
	if b.standing[c.key] == c {
		delete(b.standing, c.key)
	}
	s := c.session
	if s == nil {
		return
	}
	delete(s.members, c)
	if !s.expired && c.written {
		s.leftovers[c] = struct{}{}
		b.watchOver(s)
		if c.leads && b.granted(s) <= 0 && s.unheard(b.bound/2) {
			s.doomed = true
			b.end(s)
		}
	}
}

// granted is how long what was granted on s lasts yet. b.mu must be held.
func (b *Backend) granted(s *session) time.Duration {
	left, now := time.Duration(0), backend.Now()
	for c := range s.members {
		if c.leads {
			left = max(left, c.grant.TTL-now.Since(c.grant.Sent))
		}
	}
	return left
}

// watchOver sets the timer of s to when its next term may lapse, or its leftovers are due to be tried again. The
// client keeps the session alive for as long as it runs, so nothing here ends by itself. b.mu must be held.
func (b *Backend) watchOver(s *session) {
	if s.over {
		return
	}
	now, ttl := backend.Now(), s.ttl()
	next := time.Duration(-1)
	if len(s.leftovers) > 0 {
		next = ttl / 3
	}
	for c := range s.members {
		if left := ttl - now.Since(c.grant.Sent); c.leads && (next < 0 || left < next) {
			next = max(left, 0)
		}
	}
	if next >= 0 {
		s.guard.Reset(next)
	}
}

// patrol removes from the store what stands on s and must not be kept alive with it: leftovers, and terms
// whose election let them run out. For the sake of what cannot be removed for a TTL the session is given up; at once, if the client's
// attempts to connect may be just what keeps the session alive.
func (b *Backend) patrol(ctx context.Context, s *session) {
	b.mu.Lock()
	now := backend.Now()
	for c := range s.members {
		if c.lapsed(now) {
			b.give(c, now)
		}
	}
	stale := make([]*candidacy, 0, len(s.leftovers))
	for c := range s.leftovers {
		stale = append(stale, c)
	}
	b.mu.Unlock()
	for _, c := range stale {
		if err := b.remove(ctx, c); err != nil && (s.unheard(0) || backend.Now().Since(c.since) >= s.ttl()) {
			b.mu.Lock()
			s.doomed = true
			b.mu.Unlock()
			break
		}
	}
	b.mu.Lock()
	b.watchOver(s)
	if s.doomed {
		b.giveUp(s)
	}
	b.mu.Unlock()
	b.settle(s)
}

// giveUp ends s when all that was granted on it is over: with the session all of its nodes go at once. Until then nothing
// more is granted. b.mu must be held.
func (b *Backend) giveUp(s *session) {
	if b.current == s {
		b.current = nil
	}
	if left := b.granted(s); left > 0 && !s.over {
		s.guard.Reset(left)
		return
	}
	b.end(s)
}

// remove deletes the node of c and of no other candidacy, and forgets c when it is known to be gone.
// Without an error, the node is gone.
func (b *Backend) remove(ctx context.Context, c *candidacy) error {
	b.mu.Lock()
	s, creating := c.session, c.creating
	b.mu.Unlock()
	if s == nil || creating == nil {
		return nil
	}
	// A creation on its way ends within its bound, whoever waits for it, and usually tells the path.
	select {
	case <-creating:
	case <-ctx.Done():
		return calls.Ended(ctx)
	}
	b.mu.Lock()
	expired, written, path := s.expired, c.written, c.path
	b.mu.Unlock()
	if expired || !written {
		return nil
	}
	by, err := b.remover(ctx, s)
	if err != nil {
		return err
	}
	if path == "" {
		if path, err = b.find(ctx, by, c); err != nil {
			return err
		}
	}
	if path != "" {
		_, err = ask(ctx, by, func(conn *zk.Conn) (struct{}, error) { return struct{}{}, conn.Delete(path, -1) })
	}
	if err != nil && !errors.Is(err, zk.ErrNoNode) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if s.expired {
			return nil
		}
		return err
	}
	b.forget(c)
	return nil
}

// forget notes that the node of c is known to be gone.
func (b *Backend) forget(c *candidacy) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.written = false
	b.give(c, backend.Now())
	delete(c.session.leftovers, c)
}

// remover is the session that can delete what s left behind: s itself, or another when s takes no more
// requests but its end was not confirmed.
func (b *Backend) remover(ctx context.Context, s *session) (*session, error) {
	b.mu.Lock()
	over, closed := s.over, b.calls.Closed()
	b.mu.Unlock()
	switch {
	case !over:
		return s, nil
	case closed:
		return nil, errSessionLost
	default:
		return b.attend(ctx)
	}
}

// find looks for the node of a candidacy whose creation was never answered. The read follows the creation
// in the order of the store: what a server got from this session before it lost the connection counts first, and what
// it gets afterwards is refused because the session has moved on.
func (b *Backend) find(ctx context.Context, s *session, c *candidacy) (string, error) {
	if err := b.sync(ctx, s); err != nil {
		return "", err
	}
	names, err := b.children(ctx, s, c.key)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if isOwn(name, c.id) {
			return b.parent(c.key) + "/" + name, nil
		}
	}
	return "", nil
}

// sync brings the server that the session is connected to up to date with the ensemble.
func (b *Backend) sync(ctx context.Context, s *session) error {
	_, err := ask(ctx, s, func(conn *zk.Conn) (string, error) { return conn.Sync("/") })
	return err
}

// exists reports whether there is a node at p, as far as the server knows.
func (b *Backend) exists(ctx context.Context, s *session, p string) (bool, error) {
	return ask(ctx, s, func(conn *zk.Conn) (bool, error) {
		there, _, err := conn.Exists(p)
		return there, err
	})
}

// children lists what stands right below the node of key.
func (b *Backend) children(ctx context.Context, s *session, key string) ([]string, error) {
	parent := b.parent(key)
	names, err := ask(ctx, s, func(conn *zk.Conn) ([]string, error) {
		names, _, err := conn.Children(parent)
		return names, err
	})
	if errors.Is(err, zk.ErrNoNode) {
		return nil, nil
	}
	return names, err
}

// tidy removes what earlier candidacies of key may have left behind.
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
			return fmt.Errorf("removing the node of an earlier candidacy: %w", err)
		}
	}
	return nil
}
