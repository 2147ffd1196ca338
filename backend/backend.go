// Package backend is the seam between an election and the store that decides it: the small interface
// that a store implements, the errors they share, and the grammar of keys.
//
// Users pick one of the packages below this one and hand it to election.New. Authors of a further
// store implement [Backend] and [Lease] and prove it with backendtest.
//
// # What an author may rely on, and must provide
//
// Pull, not push: a backend starts no goroutine that outlives the calls and leases that need it, and
// retries nothing: backoff, renewal cadence and deadlines are the election's. Every call takes a
// context, returns soon after it ends, and bounds each single request to the store by itself, so that
// a store that does not answer turns into an error and not into a hang. One Backend value is one
// session with the store, however many elections run on it.
package backend

import (
	"context"
	"iter"
	"time"
)

// Backend is one session with a store that can decide elections. Its methods are safe for concurrent
// use.
type Backend interface {
	// Campaign blocks until this candidate verifiably holds key, with value announced: it returns a
	// Lease only after the record was seen in the store as this candidate's own. Many candidates may
	// wait; the store queues or wakes them, nothing is polled. While it waits it keeps its session
	// alive, coalesced with everything else on the session.
	//
	// Cancelling ctx withdraws the candidate and leaves nothing behind: it returns an error that
	// wraps ctx.Err(), after one bounded try to remove what was written. A leftover that could not be
	// removed is remembered and removed before the session is used again for key. When ctx ends just
	// as the key is won, either the Lease is returned, and the caller resigns it, or the key is given
	// up before the error is returned.
	//
	// The Lease does not depend on ctx any more. A lease whose holder stops renewing must end: on a session that
	// something else keeps alive, the record is removed, not kept alive with it.
	//
	// A second Campaign for a key that this Backend is campaigning for or holds is refused with
	// ErrBusy; after Close it is ErrClosed; a key or value that the store cannot take is refused with a
	// permanent error before anything is sent. Campaign does not keep value after it returns.
	Campaign(ctx context.Context, key string, value []byte) (Lease, error)

	// Observe yields the leader of key now, the zero Leader when there is none, and then every
	// change: a new leader, another value of the same term, vacancy. Of changes that follow each other
	// faster than the caller takes them, only the last need be seen. Tokens never go back. It ends
	// silently with ctx; on any error it yields the zero Leader with that error and ends. It does
	// nothing until it is ranged over, and leaving the loop frees what it held. It needs no candidacy.
	// The caller owns each Leader's Value.
	Observe(ctx context.Context, key string) iter.Seq2[Leader, error]

	// TTL is the time to live that is asked of the store for every lease. A Grant tells what was
	// granted.
	TTL() time.Duration

	// Close ends the session: no new calls are taken (ErrClosed), waiting ones end with ErrClosed, and
	// every Wait of a live lease returns ErrClosed. Leases that are held stay held, and can still be
	// renewed and resigned; the session itself ends with the last of them. With none held, it ends
	// before Close returns, within a bound. Closing again is a no-op that returns nil. The store's
	// client stays the caller's to close.
	Close() error
}

// Lease is one term of one key, from the win until Resign or loss. Renew, Proclaim and Resign are
// never called at the same time; Wait may run beside them, once at a time. All of them return soon
// after their context ends, and a call whose context ended costs no other call on the session anything.
type Lease interface {
	// Token is the fencing token of this term: from 1 to math.MaxInt64, greater than that of every
	// earlier term of the key, and the same that observers see.
	Token() uint64

	// Grant is the promise of the store that came with winning.
	Grant() Grant

	// Renew extends the lease and proves that the record is still this term's own: a session that is
	// alive is not enough. It never ends the lease sooner than an earlier Grant said, also when its answer is
	// lost. ErrLost says that it is not; any other error proves nothing either way.
	Renew(ctx context.Context) (Grant, error)

	// Wait blocks until the store says that the key is lost (ErrLost), until the Backend is closed
	// (ErrClosed), until the store can no longer be listened to (any other error), or until ctx ends
	// (its error). It never returns nil. Where the store cannot tell, it waits for ctx.
	Wait(ctx context.Context) error

	// Proclaim announces another value in the same term, under the same token. ErrLost says that the
	// record is no longer this term's own. It does not keep value after it returns.
	Proclaim(ctx context.Context, value []byte) error

	// Resign gives up this term and no other: it can never remove a successor's record, not even one
	// of this same session. It returns nil when the record is known to be gone, by whatever hand, and
	// may be called again after an error, and after success. The term is given up by the call, whatever it
	// returns, also when ctx had ended before: what could not be confirmed is remembered by the Backend and
	// repeated before the session is used again for the key. Wait has no meaning after it.
	Resign(ctx context.Context) error
}

// Grant is what a store promised: the record will not expire before TTL has passed since Sent. Sent
// was read before anything was written to the wire, so that no delay of an answer can lengthen the
// promise; TTL is what the store granted, shortened by whatever the store adds to the danger.
type Grant struct {
	Sent Instant
	TTL  time.Duration
}

// Leader is who leads, as the store tells it. The zero Leader means that nobody does.
type Leader struct {
	Value []byte // what the leader announced, byte for byte
	Token uint64 // the fencing token of its term; 0 when the key is vacant
}

// Vacant reports whether nobody leads.
func (l Leader) Vacant() bool { return l.Token == 0 }
