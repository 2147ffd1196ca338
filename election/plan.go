package election

import (
	"errors"
	"fmt"
	"time"
)

// rules are an election's timings, as configured.
type rules struct {
	ttl        time.Duration  // asked of the store
	margin     *time.Duration // nil: derived from the TTL granted
	drain      *time.Duration // nil: derived from the TTL granted
	drainLimit time.Duration
	pause      time.Duration // after a resignation
	release    time.Duration // for all tries to give up a key together
}

// plan is what follows from one grant. All but look and skew count from the moment it was asked for.
type plan struct {
	hard    time.Duration // the term is over
	soft    time.Duration // its work is told to stop
	renew   time.Duration // the first renewal
	attempt time.Duration // bounds one call, so that three fit between renew and soft
	skew    time.Duration // how far the clocks may part before the term is doubted
	look    time.Duration // how long the driver may go without a look at the clocks
}

const (
	marginPart   = 10 // of the TTL; covers clocks whose rates differ by 1 % and more
	minMargin    = 500 * time.Millisecond
	marginAtMost = 4 // of a TTL too short for minMargin
	drainPart    = 5
	renewPart    = 2 // of what soft leaves
	attemptPart  = 7
	minAttempt   = time.Millisecond
	maxLook      = time.Second
	pausePart    = 3
	maxPause     = 5 * time.Second
)

// plan derives the timings for a TTL that was granted. The error names the numbers that do not go
// together; the plan is then one that makes the term end at once.
func (r rules) plan(ttl time.Duration) (plan, error) {
	margin := max(ttl/marginPart, min(minMargin, ttl/marginAtMost))
	if r.margin != nil {
		margin = *r.margin
	}
	drain := ttl / drainPart
	if r.drain != nil {
		drain = *r.drain
	}
	hard := ttl - margin
	soft := hard - drain
	if soft/attemptPart < minAttempt {
		return plan{attempt: minAttempt, look: maxLook},
			fmt.Errorf("election: a TTL of %v with margin %v and drain %v leaves %v to lead between renewals, must leave at least %v",
				ttl, margin, drain, soft, attemptPart*minAttempt)
	}
	return plan{
		hard:    hard,
		soft:    soft,
		renew:   soft / renewPart,
		attempt: soft / attemptPart,
		skew:    margin / 2,
		look:    min(maxLook, margin/2),
	}, nil
}

func (r rules) validate() error {
	var errs []error
	if r.margin != nil && *r.margin <= 0 {
		errs = append(errs, fmt.Errorf("election: margin is %v, must be positive", *r.margin))
	}
	if r.drain != nil && *r.drain < 0 {
		errs = append(errs, fmt.Errorf("election: drain is %v, must not be negative", *r.drain))
	}
	if r.drainLimit <= 0 {
		errs = append(errs, fmt.Errorf("election: drain limit is %v, must be positive", r.drainLimit))
	}
	if r.pause < 0 {
		errs = append(errs, fmt.Errorf("election: resign pause is %v, must not be negative", r.pause))
	}
	if len(errs) == 0 {
		_, err := r.plan(r.ttl)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
