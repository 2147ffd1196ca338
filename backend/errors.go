package backend

import "errors"

// The errors that an election tells apart. Everything else that a backend returns is either marked
// with retry.Permanent, for what no retry can mend, or taken to be passing trouble. A backend wraps
// these so that the message names the operation and the key, and never a secret.
var (
	// ErrLost says that the key is no longer held by this lease: the record was re-read, and it is
	// gone or belongs to another incarnation. A failed request alone is never ErrLost.
	ErrLost = errors.New("the key is no longer held")

	// ErrClosed says that Close was called on the Backend. It is final for that Backend.
	ErrClosed = errors.New("the backend is closed")

	// ErrBusy says that this Backend already campaigns for the key, or holds it. It passes when the
	// other candidacy ends.
	ErrBusy = errors.New("this backend already campaigns for the key or holds it")

	// ErrDenied says that the store knows the caller and refuses it the operation (HTTP 403, gRPC
	// PermissionDenied). Rights can be granted while a candidate waits, so an election asks again,
	// and ends only after three refusals that lie at least one TTL apart each.
	ErrDenied = errors.New("the store refuses permission")
)
