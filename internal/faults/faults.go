//go:build unix

package faults

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hustings-go/hustings/internal/servers"
)

// Harness says how a store takes part.
type Harness struct {
	// TTL is what the candidates ask for: the store's minimum, or near it.
	TTL time.Duration
	// Expiry is the longest time from a leader's last sign of life to the end of its lease in the store.
	Expiry time.Duration
	// Unordered says that candidates do not win in the order in which they came: a key that was taken from
	// a leader may go to anybody, the same leader included.
	Unordered bool
	// Local says that the store is the candidates' own machine: no server and no network can fail, and what
	// a leader holds stays with its process for as long as that lives, stopped or not. Of the Server only
	// Endpoint is asked, and Revoke is not called.
	Local bool
	// Start starts a server of the store that ends with the test.
	Start func(t testing.TB) Server
	// Records lists what stands in the store for key, the leader's record first: one name a candidate.
	Records func(t testing.TB, s Server, key string) []string
	// Delete removes a record that Records listed, as an operator would.
	Delete func(t testing.TB, s Server, record string)
	// Revoke ends the session of a record that Records listed, as an operator would.
	Revoke func(t testing.TB, s Server, record string)
}

// Server is a store's server in a process of its own.
type Server interface {
	Endpoint() string
	Kill()
	Start()
	WaitReady()
	Pause()
	Resume()
}

// Run plays every failure, each on a server of its own.
func Run(t *testing.T, h Harness) {
	t.Helper()
	plays := map[string]func(*scene){
		"the leader is killed":                             leaderKilled,
		"the leader is stopped for three TTLs":             leaderStopped,
		"the network is cut both ways":                     cut((*servers.Proxy).Cut, 0),
		"the network is cut for what the leader sends":     cut((*servers.Proxy).CutUp, 0),
		"the network is cut for what the leader hears":     cut((*servers.Proxy).CutDown, h.TTL), // the store hears from it until its term is over
		"the connection is refused":                        cut((*servers.Proxy).Refuse, 0),
		"the server is killed and restarted":               serverKilled,
		"the server hangs":                                 serverHangs,
		"an operator deletes the leader's record":          operator(h.Delete, 0),
		"an operator deletes a waiting record":             operator(h.Delete, 1),
		"an operator revokes the leader's session":         operator(h.Revoke, 0),
		"an operator revokes a waiting session":            operator(h.Revoke, 1),
		"all leave one after the other and leave no trace": allLeave,
	}
	if h.Local {
		plays = localPlays(h)
	}
	for name, play := range plays {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &scene{T: t, h: h, server: h.Start(t), register: NewRegister(t)}
			play(s)
			s.leave()
			s.register.Check(t)
		})
	}
}

const key = "faults/leader"

// scene is one failure being played.
type scene struct {
	*testing.T
	h        Harness
	server   Server
	register *Register
	cast     []*candidate
}

// candidate is one process.
type candidate struct {
	*servers.Self
	s    *scene
	name string
	dead bool
}

// enter starts a candidate that reaches the store at addr.
func (s *scene) enter(name, addr string) *candidate {
	s.Helper()
	c := &candidate{s: s, name: name, Self: servers.StartSelf(s.T, Role,
		envAddr+"="+addr, envTTL+"="+s.h.TTL.String(), envKey+"="+key, envName+"="+name, envRegister+"="+s.register.url)}
	s.cast = append(s.cast, c)
	return c
}

// pair has "a" lead, by way of addr, and "b" wait for it.
func (s *scene) pair(addr string) (a, b *candidate, token uint64) {
	s.Helper()
	a = s.enter("a", addr)
	token, _ = a.leading()
	b = s.enter("b", s.server.Endpoint())
	b.Await("campaigning leader=a")
	s.await("the second record", func() bool { return len(s.h.Records(s.T, s.server, key)) == 2 })
	return a, b, token
}

// leading waits until the candidate leads.
func (c *candidate) leading() (token uint64, at time.Time) {
	c.s.Helper()
	var nanos int64
	line := c.Await("leading ")
	if _, err := fmt.Sscanf(line, "leading token=%d at=%d", &token, &nanos); err != nil {
		c.s.Fatalf("%q: %v", line, err)
	}
	return token, time.Unix(0, nanos)
}

// ended waits until a term of the candidate has ended, and returns when it was valid last.
func (c *candidate) ended() (valid time.Time, cause string) {
	c.s.Helper()
	var token uint64
	var nanos int64
	line := c.Await("ended ")
	if _, err := fmt.Sscanf(line, "ended token=%d valid=%d", &token, &nanos); err != nil {
		c.s.Fatalf("%q: %v", line, err)
	}
	_, cause, _ = strings.Cut(line, "cause=")
	return time.Unix(0, nanos), cause
}

// someone waits until one of among leads with a token greater than after.
func (s *scene) someone(among []*candidate, after uint64) (leader *candidate, token uint64, at time.Time) {
	s.Helper()
	s.await("the next leader", func() bool {
		for _, c := range among {
			for _, line := range c.Lines() {
				var nanos int64
				if _, err := fmt.Sscanf(line, "leading token=%d at=%d", &token, &nanos); err == nil && token > after {
					leader, at = c, time.Unix(0, nanos)
					return true
				}
			}
		}
		return false
	})
	return leader, token, at
}

// await waits for something that shows from outside.
func (s *scene) await(what string, cond func() bool) {
	s.Helper()
	servers.Await(s.T, what, func(context.Context) error {
		if !cond() {
			return fmt.Errorf("not yet")
		}
		return nil
	})
}

// leave asks everybody to leave and looks that nothing stays behind.
func (s *scene) leave() {
	s.Helper()
	for _, c := range s.cast {
		if c.dead {
			continue
		}
		c.Stop()
		if lines := c.Lines(); len(lines) == 0 || lines[len(lines)-1] != "left" {
			s.Errorf("%s did not leave in order; it printed %q", c.name, lines)
		}
	}
	s.await("an empty store", func() bool { return len(s.h.Records(s.T, s.server, key)) == 0 })
}

// pass lets time pass that is itself the fault: a stop or a hang of a given length.
func (s *scene) pass(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

func (s *scene) ratio(what string, d time.Duration) {
	s.Logf("%s after %v, %.2f × the TTL", what, d.Round(time.Millisecond), float64(d)/float64(s.h.TTL))
}

// inTime fails the test if a failover took longer than the store's expiry and a little.
func (s *scene) inTime(d time.Duration) {
	s.Helper()
	const slack = 5 * time.Second // of a loaded machine
	if d > s.h.Expiry+slack {
		s.Errorf("failover took %v, the store's expiry is %v", d, s.h.Expiry)
	}
}
