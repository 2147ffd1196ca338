package consul

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/retry"
)

const (
	// DefaultTTL is the time to live that is asked for when WithTTL is not given.
	DefaultTTL = 15 * time.Second

	// MinTTL is the shortest time to live that WithTTL takes: Consul's own bound, though an operator may move
	// it (session_ttl_min).
	MinTTL = 10 * time.Second

	// MaxTTL is the longest time to live that WithTTL takes, which is Consul's own bound.
	MaxTTL = 24 * time.Hour

	// MaxLockDelay is the longest lock-delay that Consul keeps; longer ones it cuts without a word.
	MaxLockDelay = 60 * time.Second

	// DefaultMaxQueries is how many queries block at once at most when WithMaxQueries is not given.
	DefaultMaxQueries = 64

	// MaxValueLen is the largest value that Campaign and Proclaim take, in bytes. Consul takes values of
	// 512 KiB, but the lock and its token are written in one transaction, which is a JSON text of at most
	// 512 KiB (txn_max_req_len) with the value in it as base64, four bytes for three.
	MaxValueLen = 380 << 10
)

// Option changes what New makes. The zero Option does nothing.
type Option struct {
	apply func(*Backend)
}

// WithTTL sets the time to live that is asked of Consul for the session: how long a key stays taken, at
// least, after its holder was last heard of. Consul takes it away after twice that time. New refuses what
// is not between MinTTL and MaxTTL.
func WithTTL(d time.Duration) Option {
	return Option{apply: func(b *Backend) { b.ttl = d }}
}

// WithName sets a readable name for the session, which Consul shows in its list of sessions; it also stands
// in error messages. The session's identity is its id, which Consul makes up. The default is "hustings".
func WithName(name string) Option {
	return Option{apply: func(b *Backend) { b.name = name }}
}

// WithLockDelay sets for how long Consul lets nobody have a key whose session was ended from outside: by
// expiry, by an operator, or with its node. It does not count when a term is resigned. 0 means none; New
// refuses what is negative or over MaxLockDelay, and what is not whole milliseconds.
//
// The default is a twentieth of the TTL, at most a second: see the package documentation for why.
func WithLockDelay(d time.Duration) Option {
	return Option{apply: func(b *Backend) { b.lockDelay, b.delaySet = d, true }}
}

// WithMaxQueries sets on how many keys a query blocks at once, at most. Each has a connection to itself, and an agent
// allows 200 from one address (limits.http_max_conns_per_client), for all programs there together; what comes
// beside them takes up to a dozen more. Changes of keys beyond the bound are noticed within a second or so, not at once: see the
// package documentation. The default is DefaultMaxQueries; New refuses less than 1.
func WithMaxQueries(n int) Option {
	return Option{apply: func(b *Backend) { b.maxQueries = n }}
}

func validateMaxQueries(n int) error {
	if n < 1 {
		return retry.Permanent(fmt.Errorf("consul: at most %d queries may block; at least 1 is needed", n))
	}
	return nil
}

func defaultLockDelay(ttl time.Duration) time.Duration {
	return min(ttl/20, time.Second).Truncate(time.Millisecond)
}

func validateClient(client *api.Client) error {
	if client == nil {
		return retry.Permanent(errors.New("consul: the client is nil"))
	}
	return nil
}

func validateTTL(d time.Duration) error {
	const allowed = "Consul takes TTLs from 10s to 24h"
	switch {
	case d <= 0:
		return retry.Permanent(fmt.Errorf("consul: the TTL is %v, which is not positive; %s", d, allowed))
	case d < MinTTL:
		return retry.Permanent(fmt.Errorf("consul: the TTL is %v, which is too short; %s", d, allowed))
	case d > MaxTTL:
		return retry.Permanent(fmt.Errorf("consul: the TTL is %v, which is too long; %s", d, allowed))
	default:
		return nil
	}
}

func validateLockDelay(d time.Duration) error {
	if d < 0 || d > MaxLockDelay || d%time.Millisecond != 0 {
		return retry.Permanent(fmt.Errorf("consul: the lock-delay is %v; Consul takes whole milliseconds from 0s to 1m0s", d))
	}
	return nil
}

func validateValue(value []byte) error {
	if len(value) > MaxValueLen {
		return retry.Permanent(fmt.Errorf("the value has %d bytes, and at most %d are allowed", len(value), MaxValueLen))
	}
	return nil
}
