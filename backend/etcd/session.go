package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/flight"
)

// session is one lease in etcd, to which the records of all candidacies of the Backend are attached.
// It has no goroutine: who waits on it, or renews a term of it, keeps it alive, and with nobody left it
// expires. Fields that change are guarded by Backend.mu.
type session struct {
	id clientv3.LeaseID

	// orphan lends the lease to package concurrency, whose Election writes and deletes our records. It
	// was orphaned at birth: its own keep-alive goroutine would keep the lease, and with it the key of
	// an election that has given up renewing, alive for as long as the process lives.
	orphan *concurrency.Session

	grant     backend.Grant // the latest promise for the lease
	renewing  *flight.Slot  // keep-alives
	members   map[*candidacy]struct{}
	leftovers map[*candidacy]struct{}
	spent     bool          // a write of unknown fate may still arrive: takes no new candidacies
	over      bool          // lost or revoked: nothing of it is in the store any more, nor can be
	lost      chan struct{} // closed with over
}

// candidacy is one record that a campaign wrote, or may have written. It is a member of its session
// while it waits or leads, and a leftover once it was given up but may still stand in the store.
type candidacy struct {
	key, path string
	session   *session
	written   bool          // the record may stand in the store
	rev       int64         // its create revision; 0 while it is not known
	stood     int64         // the latest revision at which the record was seen to stand since it was won
	leads     bool          // won: grant says until when
	grant     backend.Grant // the latest one handed out for this term
	watch     *watch        // of its record, from the campaign: whoever wants to hear of the loss goes on with it
	gone      bool          // no longer a member: nobody campaigns or leads with it
	since     backend.Instant
}

// record asks for the record of c, and compare has etcd compare it with what c wrote.
func (c *candidacy) record() clientv3.Op { return clientv3.OpGet(c.path, clientv3.WithKeysOnly()) }

func (c *candidacy) compare() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(c.path), "=", c.rev)
}

func (c *candidacy) isAmong(records []*mvccpb.KeyValue) bool {
	return slices.ContainsFunc(records, func(kv *mvccpb.KeyValue) bool {
		return kv.CreateRevision == c.rev && string(kv.Key) == c.path
	})
}

func over(now backend.Instant, g backend.Grant) bool { return now.Since(g.Sent) >= g.TTL }

// fresh reports whether the latest keep-alive is young enough to serve another caller: younger than a fifth
// of the TTL, which is more than half of the time between two renewals of an election (35 % of the TTL
// with its own timings). So of elections that renew at different times always some find together, and at
// last all of them renew at once, with one keep-alive.
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
		c.session, c.path = s, fmt.Sprintf("%s%x", prefix(c.key), int64(s.id))
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
		const longAgo = 3 // TTLs; a change of etcd's leader prolongs a lease by less
		forgotten := len(s.leftovers) == 0 || now.Since(s.grant.Sent) > longAgo*s.grant.TTL
		if s != b.current && len(s.members) == 0 && forgotten && !s.spent {
			delete(b.sessions, s)
		}
	}
}

// open grants a lease and makes it the current session. The client may repeat the request: a lease
// whose answer was lost holds nothing, and expires.
func (b *Backend) open(ctx context.Context) error {
	sent := backend.Now()
	var resp *clientv3.LeaseGrantResponse
	err := b.request(ctx, func(ctx context.Context) (err error) {
		resp, err = b.client.Grant(ctx, int64(b.ttl/time.Second))
		return err
	})
	if err != nil {
		return err
	}
	orphan, err := concurrency.NewSession(b.client, concurrency.WithLease(resp.ID))
	if err != nil {
		return err
	}
	orphan.Orphan()
	s := &session{
		id:        resp.ID,
		orphan:    orphan,
		grant:     backend.Grant{Sent: sent, TTL: time.Duration(resp.TTL) * time.Second},
		members:   make(map[*candidacy]struct{}),
		leftovers: make(map[*candidacy]struct{}),
		lost:      make(chan struct{}),
	}
	keepAlive := func(ctx context.Context) error { return b.keepAlive(ctx, s) }
	s.renewing = flight.New(keepAlive, flight.Attempt(b.ttl, maxRequest))
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
	}, b.classify)
}

// keepAlive renews the lease of s once, unless something stands on it that must not be kept alive and
// could not be removed for a TTL: then the lease, and all with it, is left to expire.
func (b *Backend) keepAlive(ctx context.Context, s *session) error {
	if err := b.sweep(ctx, s); err != nil {
		return err
	}
	// KeepAliveOnce, and not the streaming KeepAlive: it alone tells when the request was sent. It
	// repeats by itself what failed with Unavailable, which only makes this reading more cautious.
	sent := backend.Now()
	var resp *clientv3.LeaseKeepAliveResponse
	err := b.request(ctx, func(ctx context.Context) (err error) {
		resp, err = b.client.KeepAliveOnce(ctx, s.id)
		return err
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		b.bury(s)
		return err
	case err != nil:
		return err
	}
	s.grant = backend.Grant{Sent: sent, TTL: time.Duration(resp.TTL) * time.Second}
	return nil
}

// sweep removes from the store what stands on s and must not be kept alive with it: leftovers, and terms
// whose election let them run out, which on a lease that is shared would otherwise never end.
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
	for _, c := range stale {
		if err := b.remove(ctx, c); err != nil && now.Since(c.since) >= ttl {
			return fmt.Errorf("the session is not renewed, because the record %s could not be removed: %w", c.path, err)
		}
	}
	return nil
}

// give takes c off its session's members: it campaigns and leads no more, and its record counts as a
// leftover, given up at since, until it is known to be gone. b.mu must be held.
func (b *Backend) give(c *candidacy, since backend.Instant) {
	if c.gone {
		return
	}
	c.gone, c.since = true, since
	b.unwatch(c)
	if b.standing[c.key] == c {
		delete(b.standing, c.key)
	}
	if c.session == nil {
		return
	}
	delete(c.session.members, c)
	if !c.session.over && c.written {
		c.session.leftovers[c] = struct{}{}
	}
}

// unwatch ends the watch that c came with from its campaign, which nobody went on with. b.mu must be held.
func (b *Backend) unwatch(c *candidacy) {
	if c.watch != nil {
		b.watches.leave(c.watch)
		c.watch = nil
	}
}

// bury notes that the lease of s is gone for good. b.mu must be held.
func (b *Backend) bury(s *session) {
	if s.over {
		return
	}
	s.over = true
	close(s.lost)
	for v, of := range b.vigils {
		if of == s {
			v.Call()
		}
	}
	clear(s.leftovers)
	delete(b.sessions, s)
	if b.current == s {
		b.current = nil
	}
}

// remove deletes the record of c and of no other candidacy, and forgets c when it is known to be gone.
// Without an error, the record is gone.
func (b *Backend) remove(ctx context.Context, c *candidacy) error {
	s := c.session
	b.mu.Lock()
	rev, dead := c.rev, s.over
	b.mu.Unlock()
	if dead {
		return nil
	}
	err := b.request(ctx, func(ctx context.Context) error {
		if rev == 0 {
			// The answer to the write never came. Nobody else writes below this lease's id, and this
			// session writes the key no more.
			_, err := b.client.Delete(ctx, c.path)
			return err
		}
		return b.election(c, rev).Resign(ctx)
	})
	if err != nil {
		return err
	}
	if rev != 0 {
		// Only a write that was answered cannot arrive later still. The other kind is looked for again
		// with every keep-alive, and dies with the session.
		b.mu.Lock()
		delete(s.leftovers, c)
		b.mu.Unlock()
	}
	return nil
}

// election is package concurrency's view of the candidacy c, made anew for each use: its Proclaim and its
// Resign are one transaction each on the condition that the create revision of the record is still rev,
// which is what is wanted; what it remembers after errors is not.
func (b *Backend) election(c *candidacy, rev int64) *concurrency.Election {
	return concurrency.ResumeElection(c.session.orphan, prefix(c.key), c.path, rev)
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
			return fmt.Errorf("removing the record %s of an earlier candidacy: %w", c.path, err)
		}
	}
	return nil
}

// settle ends s in the store if nobody stands on it any more and nobody will: the Backend is closed, or
// the session is spent. What cannot be revoked within one bounded try is never renewed again, and expires.
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
	err := b.request(ctx, func(ctx context.Context) error {
		_, err := b.client.Revoke(ctx, s.id)
		return err
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil, errors.Is(err, rpctypes.ErrLeaseNotFound):
		b.bury(s)
	default:
		delete(b.sessions, s)
	}
}
