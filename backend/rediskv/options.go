package rediskv

import (
	"fmt"
	"time"

	"github.com/hustings-go/hustings/retry"
)

const (
	// DefaultTTL is the time to live of a lease when WithTTL is not given.
	DefaultTTL = 15 * time.Second

	// MinTTL is the shortest time to live that WithTTL takes. Redis itself counts milliseconds; but a lease must
	// outlive a few round trips, a pause of the garbage collector, and a fork of the server.
	MinTTL = 100 * time.Millisecond

	// MaxTTL is the longest time to live that WithTTL takes. A TTL is how long a key stays locked after its
	// holder crashed, so a day is already too long for nearly everybody.
	MaxTTL = 24 * time.Hour

	// MaxValueLen is the longest value that Campaign and Proclaim take, in bytes. Redis takes 512 MiB; but a
	// candidate sends its value with each look at the key, and every observer reads it on each change.
	MaxValueLen = 1 << 20
)

// Option changes what New makes. The zero Option does nothing.
type Option struct {
	apply func(*Backend)
}

// WithTTL sets the time to live of a lease: how long a key stays taken after its holder was last heard of.
// Redis counts in milliseconds, so d must be a whole number of them, from MinTTL to MaxTTL; New refuses
// anything else.
func WithTTL(d time.Duration) Option {
	return Option{apply: func(b *Backend) { b.ttl = d }}
}

// WithName sets a readable name for the session. It stands in error messages, and in the store in front
// of the random part of the holder's identity, so that an operator sees who leads.
func WithName(name string) Option {
	return Option{apply: func(b *Backend) { b.name = name }}
}

func validateTTL(d time.Duration) error {
	const allowed = "a TTL is a whole number of milliseconds, from 100ms to 24h"
	switch {
	case d <= 0:
		return retry.Permanent(fmt.Errorf("rediskv: the TTL is %v, which is not positive; %s", d, allowed))
	case d < MinTTL:
		return retry.Permanent(fmt.Errorf("rediskv: the TTL is %v, which is too short; %s", d, allowed))
	case d > MaxTTL:
		return retry.Permanent(fmt.Errorf("rediskv: the TTL is %v, which is too long; %s", d, allowed))
	case d%time.Millisecond != 0:
		return retry.Permanent(fmt.Errorf("rediskv: the TTL is %v, and Redis counts whole milliseconds; %s", d, allowed))
	default:
		return nil
	}
}

// maxNameLen bounds a name, which goes over the wire with every request.
const maxNameLen = 255

func validateName(name string) error {
	if len(name) > maxNameLen {
		return retry.Permanent(fmt.Errorf("rediskv: the name has %d bytes, and at most %d are allowed", len(name), maxNameLen))
	}
	return nil
}

func validateValue(value []byte) error {
	if len(value) > MaxValueLen {
		return retry.Permanent(fmt.Errorf("the value has %d bytes, and at most %d are allowed", len(value), MaxValueLen))
	}
	return nil
}
