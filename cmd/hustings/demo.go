//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/hustings-go/hustings/backend/backendurl"
)

const (
	demoTTL   = "2s" // short, for the show
	demoScene = time.Second
	// demoPatience is how many TTLs a scene may take. A store may need two of them to end a lease.
	demoPatience = 4
)

// demoTTLs are those of stores that keep no TTL as short.
func demoTTLs() map[string]string { return map[string]string{"consul": "10s", "zookeeper": "8s"} }

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show an election: a crash, a resignation, a stopped process",
		Long: `Demo starts three candidates, each a process, and plays: an election; the leader is killed with SIGKILL; the next one
resigns; the next one is stopped with SIGSTOP, and goes on later. It tells who leads, and how long a handover takes, in a
lane for each candidate, or a line for each event where the output is no terminal. It ends by itself.

It uses the file backend in a temporary folder, where nothing runs out: a lock stays with a process that is stopped. With
--backend it plays on another store, under a key of its own; there the lease of the stopped one runs out. It does not heed
$HUSTINGS_BACKEND.`,
		Example: `  hustings demo
  hustings demo --backend etcd://127.0.0.1:2379`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context()) },
	}
}

func (a *app) demo(ctx context.Context) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	if a.flags.backend == "" {
		dir, err := os.MkdirTemp("", "hustings-demo-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
		a.flags.backend = "file://" + (&url.URL{Path: filepath.ToSlash(dir)}).EscapedPath()
	}
	u, err := a.target()
	if err != nil {
		return err
	}
	if u.TTL() == 0 {
		ttl, ok := demoTTLs()[u.Scheme()]
		if !ok {
			ttl = demoTTL
		}
		if err := u.Set("ttl", ttl); err != nil {
			return err
		}
	}
	columns := 0
	if fd := int(a.stdout.Fd()); term.IsTerminal(fd) {
		if columns, _, err = term.GetSize(fd); err != nil || columns == 0 {
			columns = 80
		}
	}
	s := &show{
		url: u, key: "hustings-demo-" + strings.ToLower(rand.Text()), env: a.env,
		news: make(chan news),
		stage: &stage{
			out: a.stdout, lanes: columns, color: columns > 0 && a.env.get("NO_COLOR") == "", start: time.Now(),
			cast: []string{"ada", "bob", "cyd"},
		},
	}
	defer s.end()
	if err := s.play(ctx); err != nil {
		return interrupted(ctx, err)
	}
	return nil
}

// show is the demo.
type show struct {
	url     *backendurl.URL
	key     string
	env     environment
	news    chan news
	stage   *stage
	actors  []*actor
	leader  *actor    // who leads now, or nil
	since   time.Time // when the last scene began
	results []string
}

// play plays all scenes.
func (s *show) play(ctx context.Context) error {
	s.stage.say("three candidates for one key, each a process, on %s", s.url)
	for _, name := range s.stage.cast {
		if err := s.hire(ctx, name); err != nil {
			return err
		}
		if err := s.until(ctx, name+" to stand", func() bool { return s.actor(name).state != outside }); err != nil {
			return err
		}
	}
	if err := s.elected(ctx, "to be elected", nil); err != nil {
		return err
	}

	killed := s.scene(ctx, "is killed: kill -9")
	killed.send(unix.SIGKILL)
	killed.state = outside
	s.stage.enter(killed.name, outside, "killed")
	if err := s.elected(ctx, "after kill -9", killed); err != nil {
		return err
	}
	s.rest(ctx, demoScene)
	if err := s.hire(ctx, killed.name); err != nil {
		return err
	}
	if err := s.until(ctx, killed.name+" to be back", func() bool { return s.actor(killed.name).state == waits }); err != nil {
		return err
	}

	resigned := s.scene(ctx, "is asked to resign")
	resigned.ask("resign")
	if err := s.elected(ctx, "after a resignation", resigned); err != nil {
		return err
	}

	stopped := s.scene(ctx, "is stopped: kill -STOP")
	stopped.send(unix.SIGSTOP)
	s.stage.enter(stopped.name, frozen, "stopped")
	if s.url.Scheme() == "file" {
		s.rest(ctx, s.url.TTL()+demoScene)
		s.stage.say("nobody else can lead: the kernel keeps the lock for a process that is stopped, and so can still write")
		s.since = time.Now()
		stopped.send(unix.SIGCONT)
		s.stage.enter(stopped.name, leads, "goes on: kill -CONT")
		if err := s.elected(ctx, "after kill -CONT", stopped); err != nil {
			return err
		}
	} else {
		if err := s.elected(ctx, "after kill -STOP", stopped); err != nil {
			return err
		}
		s.rest(ctx, demoScene)
		stopped.send(unix.SIGCONT)
		s.stage.enter(stopped.name, waits, "goes on: kill -CONT")
		s.rest(ctx, demoScene)
	}
	s.rest(ctx, demoScene)

	s.stage.say("all leave")
	for _, a := range s.actors {
		a.ask("leave")
	}
	if err := s.until(ctx, "all to leave", func() bool { return s.present() == 0 }); err != nil {
		return err
	}
	for _, r := range s.results {
		s.stage.say("%s", r)
	}
	return ctx.Err()
}

// scene rests, and turns to the leader.
func (s *show) scene(ctx context.Context, what string) *actor {
	s.rest(ctx, demoScene)
	s.stage.say("%s %s", s.leader.name, what)
	s.since = time.Now()
	return s.leader
}

// elected waits for the next leader after last, and notes how long it took. It may be the same again, when that one
// still lives.
func (s *show) elected(ctx context.Context, when string, last *actor) error {
	if last == s.leader {
		s.leader = nil
	}
	if err := s.until(ctx, "a leader "+when, func() bool { return s.leader != nil }); err != nil {
		return err
	}
	if last != nil {
		took := s.leader.won.Sub(s.since)
		s.results = append(s.results, fmt.Sprintf("%-20s the next one led after %v", when, took.Round(time.Millisecond/10)))
		s.stage.say("%s leads %v %s", s.leader.name, took.Round(time.Millisecond/10), when)
	}
	return nil
}

// rest lets the show go on for a while.
func (s *show) rest(ctx context.Context, d time.Duration) {
	over := time.Now().Add(d)
	_ = s.listen(ctx, d, func() bool { return !time.Now().Before(over) }) // the next wait tells
}

// until lets the show go on until something is so.
func (s *show) until(ctx context.Context, what string, so func() bool) error {
	patience := demoPatience*s.url.TTL() + 10*demoScene
	if !s.listen(ctx, patience, so) {
		return fmt.Errorf("demo: waited in vain for %s, for at most %v", what, patience)
	}
	return nil
}

// listen shows what comes in, for a while or until something is so.
func (s *show) listen(ctx context.Context, d time.Duration, so func() bool) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	tick := time.NewTicker(stageTick)
	defer tick.Stop()
	for !so() {
		select {
		case n := <-s.news:
			s.take(n)
		case <-tick.C:
			s.stage.pass()
		case <-timer.C:
			return so()
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// take takes note of news.
func (s *show) take(n news) {
	a := n.from
	if a.state == outside && n.State != stateGone && a != s.actor(a.name) {
		return // of a life that is over
	}
	switch n.State {
	case stateGone:
		if a.state != outside {
			s.stage.enter(a.name, outside, "has left")
		}
		a.state = outside
	case stateWaits:
		a.state = waits
		s.stage.enter(a.name, waits, n.Text)
	case stateLeads:
		a.state, a.won, s.leader = leads, time.Unix(0, n.At), a
		s.stage.enter(a.name, leads, n.Text)
	case stateOver:
		a.state = waits
		s.stage.enter(a.name, waits, n.Text)
	}
}

// actor returns who plays under a name now.
func (s *show) actor(name string) *actor {
	var last *actor
	for _, a := range s.actors {
		if a.name == name {
			last = a
		}
	}
	return last
}

func (s *show) present() int {
	n := 0
	for _, a := range s.actors {
		if a.state != outside {
			n++
		}
	}
	return n
}

// end sends home who is still there.
func (s *show) end() {
	for _, a := range s.actors {
		a.send(syscall.SIGKILL)
	}
	for _, a := range s.actors {
		for open := true; open; {
			select {
			case <-s.news: // nobody looks any more
			case <-a.gone:
				open = false
			}
		}
	}
}
