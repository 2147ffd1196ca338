package zookeeper

import (
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
	"github.com/hustings-go/hustings/retry"
)

var (
	// errSessionLost says that the session has expired or was given up. It is passing: the next Campaign
	// makes a new session.
	errSessionLost = errors.New("the session has ended")

	// errNodeGone says that a candidate's node was deleted while it waited. It is passing too.
	errNodeGone = errors.New("the candidate's node is gone: its session ended, or somebody deleted it")

	// errNoAnswer is the error of a request that ran into our own bound, which is a deadline that was exceeded.
	errNoAnswer error = calls.Unanswered("no server answered")

	// errWornOut says that what a write proves is too little: before it, nothing was heard from the server
	// for too long. It passes: with every answer that comes, the next write proves more.
	errWornOut = errors.New("the session was silent for too long")
)

// wrap names the operation and the key in an error, and marks it for the election. Messages of the client
// name servers and causes, never credentials.
func (b *Backend) wrap(op, key string, err error) error {
	if b.name != "" {
		return fmt.Errorf("zookeeper (%s): %s %q: %w", b.name, op, key, classify(err))
	}
	return fmt.Errorf("zookeeper: %s %q: %w", op, key, classify(err))
}

// classify marks what no retry can mend as permanent and a refusal as ErrDenied; all else is passing.
func classify(err error) error {
	is := func(targets ...error) bool {
		for _, target := range targets {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	}
	switch {
	case is(backend.ErrLost, backend.ErrClosed, backend.ErrBusy):
		return err
	case is(zk.ErrNoAuth):
		return fmt.Errorf("%w: %w", backend.ErrDenied, err)
	case is(zk.ErrNoChildrenForEphemerals):
		return retry.Permanent(fmt.Errorf("a node on the path is ephemeral, and can have no elections below it: %w", err))
	case is(zk.ErrAuthFailed, zk.ErrInvalidACL, zk.ErrInvalidPath, zk.ErrInvalidFlags, zk.ErrBadArguments):
		return retry.Permanent(err)
	default:
		return err
	}
}
