package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// caught is the cause of a context that a signal ended.
type caught struct{ signal syscall.Signal }

func (c caught) Error() string { return fmt.Sprintf("ended by a signal: %v", c.signal) }

// interruptible ends the context with the first signal that asks to leave. One that was ignored when the
// program began, as nohup does, stays ignored.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	go func() {
		select {
		case s := <-signals:
			if s, ok := s.(syscall.Signal); ok {
				cancel(caught{s})
			}
		case <-ctx.Done():
		}
		signal.Stop(signals) // the second one ends the program
	}()
	return ctx, func() { cancel(nil) }
}

// interrupted is err, or, where a signal ended ctx, the exit code that says so.
func interrupted(ctx context.Context, err error) error {
	if c, ok := errors.AsType[caught](context.Cause(ctx)); ok {
		return &exit{code: codeSignal + int(c.signal)}
	}
	return err
}
