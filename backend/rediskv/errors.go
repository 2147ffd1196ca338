package rediskv

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
	"github.com/hustings-go/hustings/retry"
)

// ErrDataLost says that the store has lost writes that it had acknowledged: a token is lower than one that
// this session saw before. It is passing: who led on what was lost may go on until its lease would have run
// out, so this session stands back for that long, and then leads with a token above all that it has seen.
var ErrDataLost = errors.New("the store lost writes")

// errNoAnswer replaces the bare "i/o timeout" of a request that ran into our own bound, which is a deadline that was exceeded.
var errNoAnswer error = calls.Unanswered("redis did not answer")

// errSilent says that the connection for events went dead without a word.
var errSilent = errors.New("the connection for events does not answer")

// wrap names the operation and the key in an error, and marks it for the election. Messages of Redis and of
// its client name commands, keys and addresses, never passwords.
func (b *Backend) wrap(op, key string, err error) error {
	if b.name != "" {
		return fmt.Errorf("rediskv (%s): %s %q: %w", b.name, op, key, classify(err))
	}
	return fmt.Errorf("rediskv: %s %q: %w", op, key, classify(err))
}

// classify marks what no retry can mend as permanent and a refusal as ErrDenied; all else is passing, among it
// READONLY, LOADING, MASTERDOWN, CLUSTERDOWN, TRYAGAIN, MOVED and ASK, timeouts and broken connections.
func classify(err error) error {
	var reply redis.Error
	if errors.Is(err, redis.ErrClosed) {
		return retry.Permanent(fmt.Errorf("the redis client was closed: %w", err))
	}
	if !errors.As(err, &reply) {
		return err
	}
	says := func(texts ...string) bool {
		for _, text := range texts {
			if strings.Contains(reply.Error(), text) {
				return true
			}
		}
		return false
	}
	switch {
	case redis.IsPermissionError(err),
		// What a script is denied comes without the code NOPERM: Redis 6 and 7.0, then 7.2 and later.
		says("user executing the script can't", "ACL failure in script"):
		return fmt.Errorf("%w: %w", backend.ErrDenied, err)
	case redis.IsAuthError(err):
		return retry.Permanent(fmt.Errorf("the server refuses the login: %w", err))
	case says("WRONGTYPE", "FOREIGN", "value is not an integer"):
		return retry.Permanent(fmt.Errorf("the key is in use by something else: %w", err))
	case says("increment or decrement would overflow"):
		return retry.Permanent(fmt.Errorf("the counter of tokens is at its end: %w", err))
	case says("unknown command", "Unknown Redis command", "unknown subcommand"):
		return retry.Permanent(fmt.Errorf("the server is too old, or a command is disabled: %w", err))
	case redis.IsOOMError(err), says("OOM "):
		return fmt.Errorf("the server is out of memory (maxmemory), and takes no writes until an operator makes room: %w", err)
	case says("MISCONF"):
		return fmt.Errorf("the server cannot save to disk, and takes no writes until an operator helps: %w", err)
	case redis.IsNoReplicasError(err), says("NOREPLICAS"):
		return fmt.Errorf("the server has too few replicas in touch (min-replicas-to-write), and takes no writes: %w", err)
	default:
		return err
	}
}
