//go:build unix

package torture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hustings-go/hustings/election"
	"github.com/hustings-go/hustings/torture/stores"
)

const (
	roleCandidate = "torture-candidate"

	envStore    = "HUSTINGS_TORTURE_STORE"
	envWays     = "HUSTINGS_TORTURE_WAYS"
	envName     = "HUSTINGS_TORTURE_NAME"
	envRegister = "HUSTINGS_TORTURE_REGISTER"
	envLog      = "HUSTINGS_TORTURE_LOG"
	envClings   = "HUSTINGS_TORTURE_CLINGS"

	key = "torture/leader"

	askResign   = syscall.SIGUSR1
	askProclaim = syscall.SIGUSR2
)

// player is one candidate in a process of its own. It logs to a file, a line a write, so that what it said
// before it was killed is not lost.
type player struct {
	store  stores.Store
	name   string
	clings bool // works on after it was told to stop, for as long as its term is valid
	work   *worker

	mu  sync.Mutex
	log *os.File
}

// play is the whole life of a candidate's process. It returns its exit code.
func play() int {
	log, err := os.OpenFile(os.Getenv(envLog), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	p := &player{name: os.Getenv(envName), clings: os.Getenv(envClings) != "", log: log}
	if err := p.live(); err != nil {
		p.say("failed err=%s", oneWord(err))
		return 1
	}
	return 0
}

func (p *player) live() error {
	store, err := stores.Named(os.Getenv(envStore))
	if err != nil {
		return err
	}
	p.store = store
	asked := make(chan os.Signal, 16)
	signal.Notify(asked, askResign, askProclaim)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	stop() // the runtime's own goroutine stays, and is part of what is counted now
	before, err := count()
	if err != nil {
		return err
	}
	ctx, stop = signal.NotifyContext(context.WithoutCancel(ctx), syscall.SIGTERM)
	p.say("started")
	err = p.stand(ctx, asked)
	stop()
	if err != nil {
		return err
	}
	after := settle(before)
	p.say("left goroutines=%d fds=%d", after.goroutines-before.goroutines, after.fds-before.fds)
	return nil
}

// stand stands for election until ctx ends, and closes all that it opened.
func (p *player) stand(ctx context.Context, asked <-chan os.Signal) error {
	b, done, err := p.store.Open(context.WithoutCancel(ctx), ways(os.Getenv(envWays)), p.store.TTL)
	if err != nil {
		return err
	}
	defer done()
	e, err := election.New(b, key, p.name, election.WithResignPause(p.store.TTL/4), election.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	p.work = newWorker(os.Getenv(envRegister), p.who())
	defer p.work.close()
	var helpers sync.WaitGroup
	defer helpers.Wait()
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	helpers.Go(func() { p.obey(serving, e, asked) })
	for ev := range e.Events(ctx) {
		switch ev.State {
		case election.StateLeader:
			p.say("leading token=%d", ev.Term.Token())
			helpers.Go(func() { p.monitor(ev.Context(), ev.Term) })
			p.lead(ev.Context(), e, ev.Term)
		case election.StateErrored:
			p.say("errored err=%s", oneWord(ev.Err))
			if ev.RetryIn == 0 {
				err = ev.Err
			}
		case election.StateCampaigning, election.StateResigned, election.StateIdle:
			p.say("%v token=%d", ev.State, ev.Leader.Token)
		}
	}
	return errors.Join(err, b.Close())
}

// ways reads them as enter writes them.
func ways(text string) (ways []stores.Way) {
	for way := range strings.SplitSeq(text, ",") {
		server, addr, _ := strings.Cut(way, "=")
		ways = append(ways, stores.Way{Server: server, Addr: addr})
	}
	return ways
}

// obey does what the nemesis asks by signals.
func (p *player) obey(ctx context.Context, e *election.Election[string], asked <-chan os.Signal) {
	for {
		select {
		case s := <-asked:
			token := e.Term().Token()
			if s == askResign {
				p.say("resigning token=%d", token)
				e.Resign()
				continue
			}
			bounded, cancel := context.WithTimeout(ctx, p.store.TTL)
			err := e.Proclaim(bounded, p.name+"*")
			cancel()
			p.say("proclaimed token=%d err=%s", token, oneWord(err))
		case <-ctx.Done():
			return
		}
	}
}

// lead works until the term was told to stop; one who clings works on while it is valid, which only makes a
// difference where the term ended because it could not be renewed. Where the store may forget, one whose token is
// refused steps down: it leads with a token from before others that the store does not know of any more.
func (p *player) lead(ctx context.Context, e *election.Election[string], term *election.Term) {
	for term.Valid() && (ctx.Err() == nil || p.clings && errors.Is(context.Cause(ctx), election.ErrExpired)) {
		switch err := p.work.increment(term.Token()); {
		case errors.Is(err, errStale):
			p.say("refused token=%d", term.Token())
			if p.store.Forgets {
				e.Resign()
			}
		case err != nil:
			p.say("unwritten token=%d err=%s", term.Token(), oneWord(err))
		}
	}
	<-ctx.Done()
	p.say("told token=%d cause=%s", term.Token(), oneWord(context.Cause(ctx)))
}

// monitor looks at Valid as often as it can, beside the work, until the term is over. Of the times that it
// logs, those of valid were read before the look: the term held at them, or later.
func (p *player) monitor(ctx context.Context, term *election.Term) {
	const (
		lookEvery = 2 * time.Millisecond
		beatEvery = 10 * time.Millisecond
	)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	looked := time.Now()
	var valid, beat time.Time
	for {
		before := time.Now()
		ok := term.Valid()
		gap := before.Sub(looked)
		if !ok {
			gap = time.Since(looked) // a stop may have come just before the look, and this may be the last one
		}
		if gap > p.store.TTL {
			p.say("woke token=%d valid=%v after=%d", term.Token(), ok, gap)
		}
		looked = time.Now()
		switch {
		case ok:
			valid = before
			if until := term.Deadline(); before.Sub(beat) >= beatEvery && !until.IsZero() {
				beat = before
				p.say("valid token=%d last=%d until=%d", term.Token(), before.UnixNano(), until.UnixNano())
			}
		case ctx.Err() != nil:
			last := int64(0) // it was over when it was first looked at
			if !valid.IsZero() {
				last = valid.UnixNano()
			}
			p.say("over token=%d last=%d", term.Token(), last)
			return
		}
		<-tick.C
	}
}

func (p *player) who() string { return fmt.Sprintf("%s.%d", p.name, os.Getpid()) }

func (p *player) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	line := fmt.Sprintf("%d %s ", time.Now().UnixNano(), p.who()) + fmt.Sprintf(format, args...) + "\n"
	if _, err := p.log.WriteString(line); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

func oneWord(err error) string { return strings.Join(strings.Fields(fmt.Sprint(err)), "_") }

// held is what a process holds.
type held struct{ goroutines, fds int }

// count counts after the network was used once, because the runtime's poller has descriptors of its own.
func count() (held, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return held{}, err
	}
	if err := l.Close(); err != nil {
		return held{}, err
	}
	return holds(), nil
}

func holds() held {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return held{goroutines: runtime.NumGoroutine()} // not Linux
	}
	return held{goroutines: runtime.NumGoroutine(), fds: len(fds)}
}

// settle waits, within a bound, until no more is held than before: goroutines that were told to end need a
// moment for it.
func settle(before held) held {
	deadline := time.NewTimer(3 * time.Second)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		now := holds()
		if now.goroutines <= before.goroutines && now.fds <= before.fds {
			return now
		}
		select {
		case <-poll.C:
		case <-deadline.C:
			return holds()
		}
	}
}
