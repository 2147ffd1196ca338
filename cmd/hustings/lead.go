//go:build unix

package main

import (
	"context"
	"errors"
	"log/slog"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hustings-go/hustings/cmd/hustings/internal/keeper"
	"github.com/hustings-go/hustings/election"
)

const (
	// The command is killed this long before the term is over, so that it is gone by then: a fiftieth of
	// the TTL within these bounds.
	leastHeadStart = 50 * time.Millisecond
	mostHeadStart  = 500 * time.Millisecond
	headStartPart  = 50
	// The keeper is told of renewals this many times per TTL. There is one in a third of a TTL.
	beatsPerTTL = 20
)

// watch follows one command through one term.
type watch struct {
	*runner
	term      *election.Term
	command   *keeper.Keeper
	headStart time.Duration
	beat      *time.Ticker
	kill      *time.Timer // at the end of the grace
	stopping  bool        // told to stop, for good or by the term's end
	leaving   bool        // by a signal
}

// lead runs the command in a term. It returns when nothing of the command is left.
func (r *runner) lead(ctx context.Context, term *election.Term) error {
	if r.giveUp != nil && !r.giveUp.Stop() && context.Cause(ctx) != nil {
		return nil // it has just given up
	}
	ttl := r.store.TTL()
	w := &watch{
		runner: r, term: term,
		headStart: min(max(ttl/headStartPart, leastHeadStart), mostHeadStart),
		beat:      time.NewTicker(max(ttl/beatsPerTTL, time.Millisecond)),
		kill:      time.NewTimer(0),
	}
	defer w.beat.Stop()
	defer w.kill.Stop()
	w.kill.Stop()
	deadline, valid := w.deadline()
	if !valid {
		return nil // over before it began
	}
	log := r.log.With(slog.String("key", r.key), slog.Uint64("token", term.Token()))
	log.InfoContext(ctx, "leading: the command starts")
	var err error
	w.command, err = keeper.Start(keeper.Command{Args: r.args, Env: r.environ(term), Terminal: r.app.onTerminal()}, deadline)
	if err != nil {
		return &exit{keeper.CodeFailed, err}
	}
	w.follow(ctx, log)
	res := w.command.Result()
	log.InfoContext(ctx, "the command has ended", slog.Int("exit_code", res.Code))
	switch {
	case w.leaving, ctx.Err() == nil: // it ended because we leave, or by itself: the work is done
		r.ended = &res
	case r.once:
		r.leave(errOnce)
	}
	return nil
}

// follow returns when nothing of the command is left.
func (w *watch) follow(ctx context.Context, log *slog.Logger) {
	over := ctx.Done()
	for {
		select {
		case <-w.command.Done():
			return
		case <-w.beat.C:
			// A term that is not valid for a moment, because a clock was set, may be again after the next renewal;
			// the keeper goes by the last deadline until then.
			if deadline, valid := w.deadline(); valid {
				w.command.Extend(deadline)
			}
		case <-w.kill.C:
			log.WarnContext(ctx, "the command did not heed SIGTERM: it is killed", slog.Duration("grace", w.grace))
			w.command.Kill()
		case <-over:
			over = nil
			cause := context.Cause(ctx)
			level := slog.LevelWarn
			if w.leaving || errors.Is(cause, election.ErrResigned) { // as was wished
				level = slog.LevelInfo
			}
			log.Log(ctx, level, "the term ends: the command is told to stop", slog.Any("because", cause))
			if errors.Is(cause, election.ErrLost) {
				w.command.Kill() // somebody else may lead already
			} else if !w.stopping {
				w.stop(unix.SIGTERM)
			}
		case s := <-w.signals:
			if s, ok := s.(syscall.Signal); ok {
				w.pass(s)
			}
		}
	}
}

// pass hands a signal on to the command.
func (w *watch) pass(s syscall.Signal) {
	switch {
	case !leaves(s):
		w.command.Signal(s)
	case w.leaving: // the second one
		w.command.Kill()
	default:
		w.leaving = true
		w.stop(s)
		w.leave(caught{s})
	}
}

// stop has the command end, within the grace.
func (w *watch) stop(s syscall.Signal) {
	w.stopping = true
	w.command.Signal(s)
	w.kill.Reset(w.grace)
}

// deadline is when the command is to be gone, as far as is known; valid is false when that is now.
func (w *watch) deadline() (deadline time.Time, valid bool) {
	hard := w.term.Deadline()
	return hard.Add(-w.headStart), !hard.IsZero()
}
