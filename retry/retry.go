// Package retry is the backoff of hustings: how long to wait after a failure, and which failures no
// waiting can mend. It is a thin policy over github.com/cenkalti/backoff/v4, whose [backoff.BackOff]
// interface a [Backoff] satisfies, so that it also serves wherever that library is already in use.
package retry

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"
)

const (
	// DefaultInitial bounds the first pause of a Policy that names none.
	DefaultInitial = 50 * time.Millisecond
	// DefaultMax bounds every pause of a Policy that names no bound. An election lowers it to a
	// third of the TTL where that is less.
	DefaultMax = 5 * time.Second
	// Stop is what NextBackOff returns when the policy's limit is used up.
	Stop = backoff.Stop

	multiplier = 2
)

// Policy says how long to wait between attempts: exponentially longer, each pause drawn evenly from
// zero to the current bound ("full jitter"), so that many candidates that failed together do not
// return together. The zero Policy is ready to use and never gives up.
type Policy struct {
	// Initial is the upper bound of the first pause; every later bound is twice the one before.
	// Zero means DefaultInitial.
	Initial time.Duration
	// Max is the upper bound of every pause. Zero means DefaultMax.
	Max time.Duration
	// Limit is how many pauses in a row there may be before NextBackOff returns Stop. Zero means
	// no limit.
	Limit int
}

// Validate reports what is wrong with p, with the numbers, or nil.
func (p Policy) Validate() error {
	var errs []error
	if p.Initial < 0 {
		errs = append(errs, fmt.Errorf("retry: initial pause is %v, must not be negative", p.Initial))
	}
	if p.Max < 0 {
		errs = append(errs, fmt.Errorf("retry: longest pause is %v, must not be negative", p.Max))
	}
	if p.Initial > 0 && p.Max > 0 && p.Initial > p.Max {
		errs = append(errs, fmt.Errorf("retry: initial pause %v is longer than the longest pause %v", p.Initial, p.Max))
	}
	if p.Limit < 0 {
		errs = append(errs, fmt.Errorf("retry: limit is %d, must not be negative (0 means no limit)", p.Limit))
	}
	return errors.Join(errs...)
}

// Start returns a fresh Backoff that follows p, with jitter from math/rand/v2.
func (p Policy) Start() *Backoff { return p.StartWith(rand.Float64) }

// StartWith is Start with a source of jitter of the caller's: random must return numbers in [0, 1).
// A seeded source makes the pauses repeatable.
func (p Policy) StartWith(random func() float64) *Backoff {
	if p.Max == 0 {
		p.Max = max(DefaultMax, p.Initial)
	}
	if p.Initial == 0 {
		p.Initial = min(DefaultInitial, p.Max)
	}
	return &Backoff{policy: p, random: random}
}

var _ backoff.BackOff = (*Backoff)(nil)

// Backoff is a Policy under way: it remembers how many pauses there were. It is not safe for
// concurrent use.
type Backoff struct {
	policy Policy
	random func() float64
	bounds *backoff.ExponentialBackOff // nil until there is a failure: most have none for long
	used   int
}

// NextBackOff returns how long to wait before the next attempt, or Stop.
func (b *Backoff) NextBackOff() time.Duration {
	if b.policy.Limit > 0 && b.used >= b.policy.Limit {
		return Stop
	}
	b.used++
	if b.bounds == nil {
		b.bounds = b.policy.bounds()
	}
	return time.Duration(b.random() * float64(b.bounds.NextBackOff()))
}

// Reset starts over, as after a success.
func (b *Backoff) Reset() {
	b.used = 0
	b.bounds = nil
}

// bounds are the upper bounds of the pauses.
func (p Policy) bounds() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(p.Initial),
		backoff.WithMaxInterval(p.Max),
		backoff.WithMultiplier(multiplier),
		// The library's own randomization straddles the interval and cannot be seeded, so the interval is
		// taken bare and drawn from in NextBackOff.
		backoff.WithRandomizationFactor(0),
		backoff.WithMaxElapsedTime(0),
	)
}

// Permanent marks err as one that no retry can mend: a refused credential, a malformed key, a value
// that is too large. The mark survives wrapping, and errors.Is and errors.As still see err. Permanent(nil)
// is nil. It is cenkalti/backoff's own mark, so that backoff.Retry stops at it as well.
func Permanent(err error) error { return backoff.Permanent(err) }

// IsPermanent reports whether err, or an error that it wraps, was marked by Permanent.
func IsPermanent(err error) bool {
	var permanent *backoff.PermanentError
	return errors.As(err, &permanent)
}
