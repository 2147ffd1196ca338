//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hustings-go/hustings/cmd/hustings/internal/keeper"
	"github.com/hustings-go/hustings/election"
)

// actorCommand is what a candidate of the demo is started with.
const actorCommand = "demo-candidate"

// What a candidate of the demo tells.
const (
	stateWaits = "waits"
	stateLeads = "leads"
	stateOver  = "over" // its term
	stateGone  = "gone" // told by the demo itself
)

// news is a line that a candidate of the demo prints.
type news struct {
	At    int64  `json:"at"` // in nanoseconds since 1970
	State string `json:"state"`
	Text  string `json:"text"`
	from  *actor
}

// actor is a candidate of the demo, seen from the demo.
type actor struct {
	name  string
	state appearance
	won   time.Time
	cmd   *exec.Cmd
	stdin io.WriteCloser
	gone  chan struct{}
}

// hire starts a candidate in a process of its own, which leaves when this one ends.
func (s *show) hire(ctx context.Context, name string) error {
	self, err := keeper.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), self, actorCommand, s.key, name)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(append([]string(nil), s.env.all...), backendVar+"="+s.url.String(), passwordVar+"="+s.url.Password())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ^C is the demo's
	a := &actor{name: name, cmd: cmd, gone: make(chan struct{})}
	if a.stdin, err = cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.actors = append(s.actors, a)
	go func() {
		defer close(a.gone)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			n := news{from: a}
			if json.Unmarshal(lines.Bytes(), &n) == nil {
				s.news <- n
			}
		}
		_ = cmd.Wait() // killed, more often than not
		s.news <- news{from: a, State: stateGone}
	}()
	return nil
}

// ask asks the candidate for something. One that is gone does nothing.
func (a *actor) ask(what string) { _, _ = io.WriteString(a.stdin, what+"\n") }

// send sends a signal, likewise.
func (a *actor) send(sig syscall.Signal) { _ = a.cmd.Process.Signal(sig) }

// candidateCommand is a candidate of the demo.
func (a *app) candidateCommand() *cobra.Command {
	return &cobra.Command{
		Use:    actorCommand + " KEY NAME",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.candidate(cmd.Context(), args[0], args[1])
		},
	}
}

func (a *app) candidate(ctx context.Context, key, name string) error {
	u, err := a.checked(key)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	quiet := slog.New(slog.DiscardHandler)
	store, err := a.open(ctx, u, quiet)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // the show is over
	e, err := election.New(store, key, name, election.WithLogger(quiet), election.WithResignPause(demoScene))
	if err != nil {
		return err
	}
	go func() {
		defer cancel() // the demo has ended
		for lines := bufio.NewScanner(a.stdin); lines.Scan(); {
			switch lines.Text() {
			case "resign":
				e.Resign()
			case "leave":
				return
			}
		}
	}()
	out := json.NewEncoder(a.stdout)
	tell := func(state, format string, args ...any) error {
		return out.Encode(news{At: time.Now().UnixNano(), State: state, Text: fmt.Sprintf(format, args...)})
	}
	for ev := range e.Events(ctx) {
		switch ev.State {
		case election.StateCampaigning:
			if err = tell(stateWaits, "waits"); err != nil {
				return err // nobody looks
			}
		case election.StateLeader:
			if err = tell(stateLeads, "leads, token %d", ev.Term.Token()); err != nil {
				return err
			}
			<-ev.Context().Done() // here a service works
			if err = tell(stateOver, "stops"); err != nil {
				return err
			}
		case election.StateErrored:
			if ev.Previous == election.StateLeader {
				break // told already
			}
			if err = tell(stateOver, "in trouble"); err != nil {
				return err
			}
		default:
		}
	}
	return nil
}
