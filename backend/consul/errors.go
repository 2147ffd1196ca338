package consul

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/retry"
)

var (
	// errSessionLost says that the session has expired or was destroyed, and with it all that it held. It is
	// passing: the next Campaign makes a new session.
	errSessionLost = errors.New("the session is gone: it expired or was destroyed")

	// errNoAnswer replaces the bare "context deadline exceeded" of a request that ran into our own bound.
	errNoAnswer = errors.New("no answer from Consul")

	// errNoTurn says that requests to Consul that were made before took too long.
	errNoTurn = errors.New("other requests to Consul did not end")

	// errUnreadable says that a read came back with less than was asked for.
	errUnreadable = fmt.Errorf("%w: the ACL token may not read the key or its sibling (key%s)", backend.ErrDenied, siblingSuffix)

	// errForeign says that the key is no election's.
	errForeign = errors.New("the key holds data that no election has written (its flags are not api.LockFlagValue)")

	// errChanged says that the record became another between reading and writing it.
	errChanged = errors.New("the record was changed by somebody else at the same moment")
)

// conflict says that Consul refused a transaction, and that nothing of it happened.
type conflict struct{ errors api.TxnErrors }

func (c *conflict) Error() string {
	texts := make([]string, len(c.errors))
	for i, e := range c.errors {
		texts[i] = e.What
	}
	return "the transaction was refused: " + strings.Join(texts, "; ")
}

// isConflict reports whether err is a refused transaction of which Consul says text. It tells its
// reasons by texts alone, which are the same in all versions.
func isConflict(err error, text string) bool {
	c, ok := errors.AsType[*conflict](err)
	return ok && strings.Contains(c.Error(), text)
}

const (
	saysHeld  = "lock is already held"
	saysDelay = "due to lock delay"
)

// failedCheck reports whether a transaction was refused because the record is not as it was expected to
// be, or the session is gone: that is, for reasons that reading the record will tell.
func failedCheck(err error) bool {
	_, ok := errors.AsType[*conflict](err)
	return ok && !denied(err) && !isConflict(err, "unknown KV verb")
}

// wrap names the operation and the key in an error, and marks it for the election. Messages of Consul and
// net/http name addresses, keys and ids; the ACL token travels in a header, and is in none of them.
func (b *Backend) wrap(op, key string, err error) error {
	if b.name != "" {
		return fmt.Errorf("consul (%s): %s %q: %w", b.name, op, key, classify(err))
	}
	return fmt.Errorf("consul: %s %q: %w", op, key, classify(err))
}

// classify marks what no retry can mend as permanent and a refusal as ErrDenied; all else is passing.
func classify(err error) error {
	says := func(texts ...string) bool { return containsAny(err.Error(), texts...) }
	status, _ := errors.AsType[api.StatusError](err)
	switch {
	case errors.Is(err, backend.ErrLost), errors.Is(err, backend.ErrClosed), errors.Is(err, backend.ErrBusy),
		errors.Is(err, backend.ErrDenied), errors.Is(err, errSessionLost):
		return err
	case denied(err):
		return fmt.Errorf("%w: %w", backend.ErrDenied, err)
	case errors.Is(err, errForeign):
		return retry.Permanent(err)
	case isConflict(err, "unknown KV verb"):
		return retry.Permanent(fmt.Errorf("the server is too old, Consul 1.14 or later is needed: %w", err))
	case isConflict(err, "invalid session"):
		return fmt.Errorf("%w: %w", errSessionLost, err)
	case status.Code == http.StatusBadRequest, status.Code == http.StatusRequestEntityTooLarge:
		return retry.Permanent(err)
	case says("Invalid Session TTL", "Request body too large", "max size:", "Value for key", "Failed to parse body"):
		// Of a transaction, package api tells the answer's text and not its status.
		return retry.Permanent(err)
	default:
		return err
	}
}

// final reports whether an error that was classified is no passing one.
func final(err error) bool { return retry.IsPermanent(err) || errors.Is(err, backend.ErrDenied) }

// denied reports whether Consul refuses for want of a right: HTTP status 403, or what says so inside
// other answers. A token that Consul does not know counts as such too: a new one takes a moment to reach
// all servers.
func denied(err error) bool {
	if status, ok := errors.AsType[api.StatusError](err); ok {
		return status.Code == http.StatusForbidden || containsAny(status.Body, saysDenied, saysUnknown)
	}
	if c, ok := errors.AsType[*conflict](err); ok {
		return containsAny(c.Error(), saysDenied, saysUnknown)
	}
	return err != nil && (strings.HasPrefix(err.Error(), txnFailed) && containsAny(err.Error(), saysDenied, saysUnknown))
}

const (
	saysDenied  = "Permission denied"
	saysUnknown = "ACL not found"
	txnFailed   = "Failed request: " // begins the error of package api for a transaction that was not answered
)

func containsAny(text string, parts ...string) bool {
	for _, part := range parts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}
