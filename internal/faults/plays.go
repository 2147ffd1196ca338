//go:build unix

package faults

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hustings-go/hustings/internal/servers"
)

func leaderKilled(s *scene) {
	a, b, old := s.pair(s.server.Endpoint())
	killed := time.Now()
	a.Kill()
	a.dead = true
	token, at := b.leading()
	if token <= old {
		s.Errorf("token %d after %d", token, old)
	}
	s.ratio("failover", at.Sub(killed))
	s.inTime(at.Sub(killed))
}

func leaderStopped(s *scene) {
	a, b, old := s.pair(s.server.Endpoint())
	stopped := time.Now()
	a.Pause()
	token, at := b.leading()
	if token <= old {
		s.Errorf("token %d after %d", token, old)
	}
	s.ratio("failover", at.Sub(stopped))
	s.await("a write of the new leader", func() bool { return s.wrote("b", token) })
	s.pass(3*s.h.TTL - time.Since(stopped))
	resumed := time.Now()
	a.Resume()
	if woke := a.Await("woke "); !strings.HasPrefix(woke, "woke valid=false") {
		s.Errorf("the first look at the term after waking: %q", woke)
	}
	a.ended()
	a.Await("campaigning leader=b")
	issued := 0
	for _, w := range s.register.Writes() {
		if w.Who == "a" && w.At.After(resumed) {
			if issued++; w.Accepted {
				s.Errorf("a write of token %d landed after waking", w.Token)
			}
		}
	}
	// One may have been on its way between check and effect when the process stopped: the token's part.
	s.Logf("guarded writes after waking: %d arrived, none accepted", issued)
	if issued > 1 {
		s.Errorf("%d writes were issued after waking", issued)
	}
}

// wrote reports whether a write of a candidate was accepted under a token.
func (s *scene) wrote(who string, token uint64) bool {
	for _, w := range s.register.Writes() {
		if w.Who == who && w.Token == token && w.Accepted {
			return true
		}
	}
	return false
}

// cut separates the leader from the store, and nobody else. The store may hear from it for a while yet.
func cut(how func(*servers.Proxy), heard time.Duration) func(*scene) {
	return func(s *scene) {
		proxy := servers.StartProxy(s.T, s.server.Endpoint())
		a, b, old := s.pair(proxy.Addr())
		began := time.Now()
		how(proxy)
		valid, cause := a.ended()
		if !strings.Contains(cause, "not renewed in time") {
			s.Errorf("the term ended because: %s", cause)
		}
		token, at := b.leading()
		if token <= old {
			s.Errorf("token %d after %d", token, old)
		}
		lag := valid.Sub(at)
		s.ratio("failover", at.Sub(began))
		s.Logf("the old term was valid last %v before the new one began", -lag.Round(time.Millisecond))
		if lag >= 0 {
			s.Errorf("two valid terms for %v", lag)
		}
		s.inTime(at.Sub(began) - heard)
		proxy.Heal()
		a.Await("campaigning leader=b")
		s.await("a in the queue again", func() bool { return len(s.h.Records(s.T, s.server, key)) == 2 })
	}
}

func serverKilled(s *scene) {
	a, _, _ := s.pair(s.server.Endpoint())
	s.server.Kill()
	a.ended()
	s.server.Start()
	s.server.WaitReady()
	s.recovers()
}

func serverHangs(s *scene) {
	a, _, _ := s.pair(s.server.Endpoint())
	s.server.Pause()
	a.ended()
	s.pass(s.h.TTL)
	s.server.Resume()
	s.recovers()
}

// recovers waits until somebody leads again, with nobody's help, and the other one waits for it.
func (s *scene) recovers() {
	back := time.Now()
	s.await("a new leader", func() bool {
		for _, w := range s.register.Writes() {
			if w.At.After(back) && w.Accepted {
				return true
			}
		}
		return false
	})
	s.ratio("writes again", time.Since(back))
	s.await("both in the queue", func() bool { return len(s.h.Records(s.T, s.server, key)) == 2 })
}

// operator takes a record, or its session, away by hand: the leader's (0) or the waiting candidate's (1).
func operator(how func(testing.TB, Server, string), which int) func(*scene) {
	return func(s *scene) {
		a, b, old := s.pair(s.server.Endpoint())
		var records []string
		s.await("both in the queue", func() bool { records = s.h.Records(s.T, s.server, key); return len(records) == 2 })
		took := time.Now()
		how(s.T, s.server, records[which])
		if which == 1 {
			s.await("b in the queue again", func() bool {
				now := s.h.Records(s.T, s.server, key)
				return len(now) == 2 && now[1] != records[1] || len(now) == 2 && b.again()
			})
			a.Stop()
			a.dead = true
		} else {
			if _, cause := a.ended(); !strings.Contains(cause, "no longer held") {
				s.Errorf("the term ended because: %s", cause)
			}
			if s.h.Unordered {
				_, _, at := s.someone(s.cast, old)
				s.ratio("the next leader", at.Sub(took))
				return
			}
			a.Await("campaigning leader=b")
		}
		token, at := b.leading()
		if token <= old {
			s.Errorf("token %d after %d", token, old)
		}
		s.ratio("the next leader", at.Sub(took))
	}
}

// again reports whether the candidate has said that its candidacy failed, and stands anew.
func (c *candidate) again() bool {
	for _, line := range c.Lines() {
		if strings.HasPrefix(line, "errored") {
			return true
		}
	}
	return false
}

func allLeave(s *scene) {
	leader, b, token := s.pair(s.server.Endpoint())
	waiting := []*candidate{b, s.enter("c", s.server.Endpoint())}
	s.await("three in the queue", func() bool { return len(s.h.Records(s.T, s.server, key)) == 3 })
	for len(waiting) > 0 {
		left := time.Now()
		leader.Stop()
		leader.dead = true
		var at time.Time
		leader, token, at = s.someone(waiting, token)
		s.Logf("handover after %v", at.Sub(left).Round(time.Microsecond))
		if !s.h.Unordered && leader != waiting[0] {
			s.Errorf("%s came before %s", leader.name, waiting[0].name)
		}
		waiting = slices.DeleteFunc(waiting, func(c *candidate) bool { return c == leader })
	}
}
