//go:build unix

package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/election"
)

// Role is the role that a store's TestMain hands to [Candidate].
const Role = "candidate"

const (
	envAddr     = "HUSTINGS_FAULTS_ADDR"
	envTTL      = "HUSTINGS_FAULTS_TTL"
	envKey      = "HUSTINGS_FAULTS_KEY"
	envName     = "HUSTINGS_FAULTS_NAME"
	envRegister = "HUSTINGS_FAULTS_REGISTER"
)

// Open opens a session with the store at addr, in a candidate's process. The function that it returns
// closes what it opened.
type Open func(ctx context.Context, addr string, ttl time.Duration) (b backend.Backend, done func(), err error)

// Candidate is the whole life of one candidate in a process of its own: it stands until it is told to end
// by SIGTERM, writes to the register while its term is valid, and prints a line for everything that the
// test wants to know. It returns the process's exit code.
func Candidate(open Open) int {
	//nolint:forbidigo // the root of a process of its own
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := stand(ctx, open); err != nil {
		say("failed %v", err)
		return 1
	}
	say("left")
	return 0
}

func stand(ctx context.Context, open Open) error {
	ttl, err := time.ParseDuration(os.Getenv(envTTL))
	if err != nil {
		return err
	}
	name := os.Getenv(envName)
	b, done, err := open(context.WithoutCancel(ctx), os.Getenv(envAddr), ttl)
	if err != nil {
		return err
	}
	defer done()
	e, err := election.New(b, os.Getenv(envKey), name, election.WithResignPause(ttl/4))
	if err != nil {
		return err
	}
	w := &worker{name: name, url: os.Getenv(envRegister), ttl: ttl, client: &http.Client{Timeout: ttl}}
	defer w.client.CloseIdleConnections()
	for ev := range e.Events(ctx) {
		switch ev.State {
		case election.StateLeader:
			w.work(ev.Context(), ev.Term)
		case election.StateErrored:
			say("errored %s", oneLine(ev.Err))
		case election.StateCampaigning, election.StateResigned, election.StateIdle:
			say("%v leader=%s token=%d", ev.State, ev.Leader.Value, ev.Leader.Token)
		}
	}
	return b.Close()
}

// worker does what a leader does: it looks whether its term is valid, and writes.
type worker struct {
	name, url string
	ttl       time.Duration
	client    *http.Client
}

// work goes on until the term was told to stop and is over or, if it still holds, was told so for good
// reason: it looks at Valid as often as it can, because how long that stays true is what is measured.
func (w *worker) work(ctx context.Context, term *election.Term) {
	say("leading token=%d at=%d", term.Token(), time.Now().UnixNano())
	var writing sync.WaitGroup
	defer writing.Wait()
	free := make(chan struct{}, 1)
	free <- struct{}{}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	last, valid := time.Now(), time.Now()
	for {
		before := time.Now()
		ok := term.Valid()
		gap := before.Sub(last)
		if !ok {
			gap = time.Since(last) // a stop may have come just before the look, and this may be the last one
		}
		if gap > w.ttl {
			say("woke valid=%v after=%v", ok, gap)
		}
		last = before // and not later: a stop in between would hide its length
		if ok {
			valid = before // it was true at some time after this
			select {
			case <-free: // one write at a time, and none of them holds up the look at the term
				writing.Go(func() {
					if err := write(context.WithoutCancel(ctx), w.client, w.url, w.name, term.Token()); err != nil {
						say("write %s", oneLine(err))
					}
					free <- struct{}{}
				})
			default:
			}
		}
		if ctx.Err() != nil && (!ok || !errors.Is(context.Cause(ctx), election.ErrExpired)) {
			say("ended token=%d valid=%d cause=%s", term.Token(), valid.UnixNano(), oneLine(context.Cause(ctx)))
			return
		}
		<-tick.C
	}
}

func say(format string, args ...any) {
	_, _ = fmt.Fprintf(os.Stdout, format+"\n", args...)
}

func oneLine(err error) string { return strings.ReplaceAll(fmt.Sprint(err), "\n", "; ") }
