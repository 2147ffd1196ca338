package zookeeper

import (
	"context"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// Who has only the leader before it learns by an event that it is first. A win needs a grant besides, and one that a write of the session
// has brought already will do. So that there is one, the session writes while somebody waits there.

const (
	// readyPart of the TTL is how old a session's latest grant becomes while somebody on it is next. A grant is then worth four fifths of the
	// TTL, or three where a tick is a quarter of it, and an election announces a win at once while that is younger than a third of what it is
	// worth: 0.28 of the TTL, or 0.21.
	readyPart = 5

	// freshPart of the TTL is how old a grant may be that a win goes by, and half of the TTL is what it must have been worth: an election that
	// kept its defaults can lead with a third of the TTL from then on. One that is older, or worth less, is had anew.
	freshPart = 4
)

// earned notes what a write was worth that was acknowledged.
func (s *session) earned(grant backend.Grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if grant.Sent.Since(s.latest.Sent) > 0 {
		s.latest = grant
	}
}

// atHand returns the latest grant of the session, and whether a win may go by it.
func (s *session) atHand(now backend.Instant) (backend.Grant, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest, now.Since(s.latest.Sent) < s.timeout/freshPart && s.latest.TTL >= s.timeout/2
}

// standBy has a grant kept ready for c, until standDown.
func (b *Backend) standBy(c *candidacy) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := c.session
	s.next[c] = struct{}{}
	if len(s.next) == 1 && !s.over {
		s.standby.Reset(s.untilStale(backend.Now()))
	}
}

func (b *Backend) standDown(c *candidacy) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(c.session.next, c)
}

// untilStale is the time until the latest grant of the session is to be replaced.
func (s *session) untilStale(now backend.Instant) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(0, s.timeout/readyPart-now.Since(s.latest.Sent))
}

// keepReady replaces the latest grant of s if it is time to, for all who stand by together, and comes again. If it fails, a win is
// proved by a write of its own.
func (b *Backend) keepReady(ctx context.Context, s *session) {
	pause := s.untilStale(backend.Now())
	if node := b.anyNext(s); node != "" && pause == 0 {
		_ = s.check(ctx, &proof{node: node})
		pause = s.ttl() / readyPart
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(s.next) > 0 && !s.over {
		s.standby.Reset(pause)
	}
}

// anyNext returns the node of one of those who stand by, or "" if there is none.
func (b *Backend) anyNext(s *session) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range s.next {
		return c.path
	}
	return ""
}
