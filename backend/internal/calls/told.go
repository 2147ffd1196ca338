package calls

import (
	"context"
	"iter"

	"github.com/hustings-go/hustings/backend"
)

// Observe makes the call that yields leaders of one that tells of them, as TellLeaders of a [backend.LeaderTeller] does for
// one key. Of what is told faster than it is taken, it yields the last.
func Observe(ctx context.Context, tell func(func(backend.Leader, error)) (stop func())) iter.Seq2[backend.Leader, error] {
	return func(yield func(backend.Leader, error) bool) {
		if ctx.Err() != nil {
			return
		}
		type news struct {
			leader backend.Leader
			err    error
		}
		told := make(chan news, 1) // the latest
		stop := tell(func(l backend.Leader, err error) {
			select {
			case <-told: // what was not taken is out of date
			default:
			}
			told <- news{l, err}
		})
		defer stop()
		for {
			select {
			case n := <-told:
				if ctx.Err() != nil || !yield(n.leader, n.err) || n.err != nil {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// Wait makes the call that waits for a loss of one that tells of it, as TellLoss of a [backend.LossTeller] does. It
// returns what is told, or what wrap makes of the end of ctx.
func Wait(ctx context.Context, tell func(func(error)) (stop func()), wrap func(error) error) error {
	if ctx.Err() != nil {
		return wrap(ctx.Err())
	}
	told := make(chan error, 1)
	stop := tell(func(err error) { told <- err })
	defer stop()
	select {
	case err := <-told:
		return err
	case <-ctx.Done():
		return wrap(ctx.Err())
	}
}
