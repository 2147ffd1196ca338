package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/retry"
)

// errSessionLost says that the session's lease has expired or was revoked, and with it all that this
// session had written. It is passing: the next Campaign makes a new session.
var errSessionLost = errors.New("the session's lease is gone: it expired or was revoked")

// errRecordGone says that a candidate's record was deleted while it waited. It is passing too.
var errRecordGone = errors.New("the candidate's record is gone: its lease ended, or somebody deleted it")

// errNoAnswer replaces the bare "context deadline exceeded" of a request that ran into our own bound.
var errNoAnswer = errors.New("etcd did not answer")

// wrap names the operation and the key in an error, and marks it for the election. Messages of etcd and
// gRPC name endpoints and causes, never credentials.
func (b *Backend) wrap(op, key string, err error) error {
	if b.name != "" {
		return fmt.Errorf("etcd (%s): %s %q: %w", b.name, op, key, b.classify(err))
	}
	return fmt.Errorf("etcd: %s %q: %w", op, key, b.classify(err))
}

// classify marks what no retry can mend as permanent and a refusal as ErrDenied; all else is passing.
// The client hands out etcd's errors as values of rpctypes where it knows their text, and bare gRPC
// errors elsewhere.
func (b *Backend) classify(err error) error {
	known := rpctypes.Error(err)
	is := func(targets ...error) bool {
		for _, target := range targets {
			if errors.Is(known, target) {
				return true
			}
		}
		return false
	}
	switch {
	case errors.Is(err, backend.ErrLost), errors.Is(err, backend.ErrClosed), errors.Is(err, backend.ErrBusy):
		return err
	case is(rpctypes.ErrPermissionDenied), status.Code(err) == codes.PermissionDenied:
		return fmt.Errorf("%w: %w", backend.ErrDenied, err)
	case is(rpctypes.ErrAuthFailed, rpctypes.ErrAuthNotEnabled, rpctypes.ErrUserNotFound, rpctypes.ErrInvalidAuthMgmt,
		rpctypes.ErrEmptyKey, rpctypes.ErrRequestTooLarge, rpctypes.ErrLeaseTTLTooLarge, rpctypes.ErrCorrupt):
		return retry.Permanent(err)
	case is(rpctypes.ErrUserEmpty) && b.client.Username == "":
		// The server wants a login and the client has none. With one, the token was merely mislaid.
		return retry.Permanent(fmt.Errorf("the server requires a user name, and the client has none: %w", err))
	case is(rpctypes.ErrNoSpace):
		return fmt.Errorf("the store is full (NOSPACE alarm): it takes no writes until an operator compacts it and disarms the alarm: %w", err)
	case is(rpctypes.ErrLeaseNotFound):
		return fmt.Errorf("%w: %w", errSessionLost, err)
	case b.client.Ctx().Err() != nil:
		return retry.Permanent(fmt.Errorf("the etcd client was closed: %w", err))
	default:
		return err
	}
}

// request runs one request to etcd under a bound of its own, so that an endpoint that does not answer
// turns into an error and not into a hang: the client waits for a connection for as long as it may.
func (b *Backend) request(ctx context.Context, do func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, b.bound)
	defer cancel()
	err := do(bounded)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		return fmt.Errorf("%w within %v: %w", errNoAnswer, b.bound, err)
	}
	return err
}
