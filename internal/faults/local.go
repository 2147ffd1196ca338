//go:build unix

package faults

import (
	"strings"
	"time"
)

// localPlays are the failures that a store on the candidates' own machine can have.
func localPlays(h Harness) map[string]func(*scene) {
	return map[string]func(*scene){
		"the leader is killed":                             leaderKilled,
		"the leader is stopped for three TTLs":             stoppedLeaderKeeps,
		"the leader is stopped and then killed":            stoppedLeaderKilled,
		"an operator deletes the leader's record":          operator(h.Delete, 0),
		"all leave one after the other and leave no trace": allLeave,
	}
}

// stoppedLeaderKeeps: nobody leads while the leader is stopped, and it notices on waking.
func stoppedLeaderKeeps(s *scene) {
	a, b, old := s.pair(s.server.Endpoint())
	a.Pause()
	s.pass(3 * s.h.TTL)
	for _, line := range b.Lines() {
		if strings.HasPrefix(line, "leading") {
			s.Errorf("b took the key from a leader that was only stopped: %q", line)
		}
	}
	resumed := time.Now()
	a.Resume()
	if woke := a.Await("woke "); !strings.HasPrefix(woke, "woke valid=false") {
		s.Errorf("the first look at the term after waking: %q", woke)
	}
	a.ended()
	_, _, at := s.someone(s.cast, old)
	s.ratio("the next leader", at.Sub(resumed))
	s.inTime(at.Sub(resumed))
}

// stoppedLeaderKilled: what an operator does about it.
func stoppedLeaderKilled(s *scene) {
	a, b, old := s.pair(s.server.Endpoint())
	a.Pause()
	s.pass(s.h.TTL)
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
