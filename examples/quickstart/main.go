// Command quickstart shows an election from the outside: three candidates, a win, a crash, a resignation
// and a store outage, as a timeline that ends by itself.
//
//	go run ./examples/quickstart                      # on the embedded memory store
//	go run ./examples/quickstart -etcd 127.0.0.1:2379 # on a real etcd
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/election"
)

const (
	key = "examples/quickstart"
	ttl = 2 * time.Second // short, for the show; 15 s is the default
)

func main() {
	endpoint := flag.String("etcd", "", "run on the etcd at this `host:port` instead of the memory store")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	open, err := memoryStore()
	if *endpoint != "" {
		open, err = etcdStore(ctx, *endpoint)
	}
	if err == nil {
		err = run(ctx, os.Stdout, open)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// session is one candidate's way to the store, with a cable that can be pulled.
type session struct {
	backend.Backend
	pull, plug func()
	close      func() error
}

// opener opens another session with the same store.
type opener func(name string) (*session, error)

// candidate is one of the three.
type candidate struct {
	name     string
	session  *session
	election *election.Election[string]
	crash    context.CancelFunc
}

// run plays the five acts.
func run(ctx context.Context, out io.Writer, open opener) error {
	ctx, cancel := context.WithCancel(ctx)
	show := &timeline{out: out, start: time.Now(), leading: make(chan string, 64)}
	var all []*candidate
	var loops sync.WaitGroup
	defer func() {
		cancel()
		loops.Wait()
		for _, c := range all {
			c.session.plug()
			_ = c.session.close() // the show is over; what is left expires
		}
	}()

	show.say("--", "three candidates stand for %q; a lease lasts %v", key, ttl)
	for _, name := range []string{"ada", "bob", "cyd"} {
		s, err := open(name)
		if err != nil {
			return err
		}
		c := &candidate{name: name, session: s}
		all = append(all, c)
		c.election, err = election.New(s, key, name, election.WithLogger(slog.New(slog.DiscardHandler)), election.WithResignPause(time.Second))
		if err != nil {
			return err
		}
		var own context.Context
		own, c.crash = context.WithCancel(ctx)
		loops.Go(func() { c.stand(own, show) })
	}
	byName := func(name string) *candidate {
		for _, c := range all {
			if c.name == name {
				return c
			}
		}
		return nil
	}

	first, err := show.leader(ctx)
	if err != nil {
		return err
	}
	show.rest(ctx, time.Second)

	show.say("--", "%s crashes: its lease has to run out", first)
	byName(first).session.pull()
	byName(first).crash()
	second, err := show.leader(ctx)
	if err != nil {
		return err
	}
	show.rest(ctx, time.Second)

	show.say("--", "%s resigns: the next one leads at once", second)
	byName(second).election.Resign()
	if _, err := show.leader(ctx); err != nil {
		return err
	}
	show.rest(ctx, 1500*time.Millisecond)

	show.say("--", "the store cannot be reached by anybody: the leader stops before its lease can end")
	for _, c := range all {
		c.session.pull()
	}
	show.rest(ctx, 4*time.Second)
	show.say("--", "the store is back: nobody has to be restarted")
	for _, c := range all {
		if c.name != first {
			c.session.plug()
		}
	}
	if _, err := show.leader(ctx); err != nil {
		return err
	}
	show.rest(ctx, time.Second)

	show.say("--", "all leave: the key is given up, nothing is left running")
	cancel()
	loops.Wait()
	show.say("--", "the end")
	return nil
}

// stand is what a service writes; a service would also log every error, which the show tells only once.
func (c *candidate) stand(ctx context.Context, show *timeline) {
	troubled := false
	for ev := range c.election.Events(ctx) {
		switch ev.State {
		case election.StateCampaigning:
			switch {
			case troubled && ev.Err != nil:
			case ev.Leader.Vacant():
				show.say(c.name, "campaigning; nobody leads")
			case ev.Leader.Value != c.name:
				show.say(c.name, "campaigning; %s leads", ev.Leader.Value)
			}
		case election.StateLeader:
			troubled = false
			show.say(c.name, "LEADS, with fencing token %d", ev.Term.Token())
			show.leading <- c.name
			<-ev.Context().Done() // here the service works
			show.say(c.name, "stops, because: %v", context.Cause(ev.Context()))
		case election.StateErrored:
			if !troubled {
				show.say(c.name, "errored, and tries again, with growing pauses: %v", ev.Err)
			}
			troubled = true
		case election.StateResigned:
			show.say(c.name, "resigned")
		case election.StateIdle:
		}
	}
}

// timeline prints who does what, when.
type timeline struct {
	mu      sync.Mutex
	out     io.Writer
	start   time.Time
	leading chan string
}

func (t *timeline) say(who, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, "%6.2fs  %-4s %s\n", time.Since(t.start).Seconds(), who, fmt.Sprintf(format, args...))
}

// leader waits for the next candidate to lead.
func (t *timeline) leader(ctx context.Context) (string, error) {
	select {
	case name := <-t.leading:
		return name, nil
	case <-time.After(4 * ttl):
		return "", fmt.Errorf("nobody leads after %v", 4*ttl)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (t *timeline) rest(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
