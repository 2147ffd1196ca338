package rediskv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
)

const (
	// elbowRoom is how much time each candidate that waits adds to that over which all of them spread
	// their tries when a key is released. The first to win is told to the others, who then need not try:
	// so few do, however many wait, and two lose no time at all.
	elbowRoom = 300 * time.Microsecond

	// maxSpread bounds that time.
	maxSpread = 50 * time.Millisecond
)

// candidacy is one try to win one key, and the term that may come of it. It is never used again: the
// number tells it from all others of this holder.
type candidacy struct {
	key    string
	number uint64

	// Guarded by Backend.mu.

	grant backend.Grant // the latest
	leads bool          // it was won, and handed out as a Lease
	gone  bool          // it was given up, or lost
}

// Campaign stands for key with value announced, and blocks until it is won or fails. See
// [backend.Backend] for the contract; what is Redis's own:
//
// A free key takes one request. Otherwise the candidate listens to the key's channel, where a release
// is told, and looks by itself when the holder's lease would have ended; nothing queues candidates, and the
// first to try wins. While it waits there is nothing of it in the store.
//
// Errors: ErrBusy, ErrClosed; permanent ones for a bad key, a value of more than MaxValueLen bytes, a
// refused login, a key in use by something else, or a client that was closed; an ErrDenied when a right is
// missing; a passing [ErrDataLost] when the store went back in time. Everything else passes. After every error
// the record was removed in one bounded try, or expires within its TTL, or is replaced when this Backend
// campaigns for key again. Campaign is safe for concurrent use and does not keep value.
func (b *Backend) Campaign(ctx context.Context, key string, value []byte) (backend.Lease, error) {
	if err := backend.ValidateKey(key); err != nil {
		return nil, err
	}
	l, err := b.stand(ctx, key, value)
	if err != nil {
		return nil, b.wrap("campaign", key, err)
	}
	return l, nil
}

// stand is Campaign without the names in its errors.
func (b *Backend) stand(ctx context.Context, key string, value []byte) (*Lease, error) {
	if err := validateValue(value); err != nil {
		return nil, err
	}
	ctx, leave, err := b.calls.Enter(ctx, true)
	if err != nil {
		return nil, err
	}
	defer leave()
	if ctx.Err() != nil {
		return nil, calls.Ended(ctx)
	}
	c, err := b.reserve(key)
	if err != nil {
		return nil, err
	}
	// A request may outlive this call, so that it must not read what the caller may overwrite.
	a, err := b.win(ctx, c, string(value))
	if err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		c.leads, c.grant = true, a.grant
		return &Lease{b: b, c: c, token: a.token, won: a.grant}, nil
	}
	b.give(c)
	// The caller has the error that led here. What could not be removed expires.
	_ = b.remove(context.WithoutCancel(ctx), c)
	if ctx.Err() != nil {
		return nil, calls.Ended(ctx)
	}
	return nil, err
}

// reserve makes the candidacy for key, unless there is one. A term that was left to run out, and has,
// makes room.
func (b *Backend) reserve(key string) (*candidacy, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.standing[key]; c != nil {
		if !c.leads || backend.Now().Since(c.grant.Sent) < c.grant.TTL {
			return nil, backend.ErrBusy
		}
		c.gone = true
	}
	b.candidacies++
	c := &candidacy{key: key, number: b.candidacies}
	b.standing[key] = c
	return c, nil
}

// give notes that c campaigns and leads no more.
func (b *Backend) give(c *candidacy) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.gone = true
	if b.standing[c.key] == c {
		delete(b.standing, c.key)
	}
}

// remove takes the record of c, and of no other candidacy, out of the store. Without an error it is gone.
func (b *Backend) remove(ctx context.Context, c *candidacy) error {
	_, err := ask(ctx, b, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, b.run(ctx, b.scripts.release, c.key, b.holder, c.number, channel(c.key)).Err()
	})
	return err
}

// win returns when the key was seen to be this candidacy's own.
func (b *Backend) win(ctx context.Context, c *candidacy, value string) (attempt, error) {
	a, err := b.acquire(ctx, c, value)
	if err != nil || a.won {
		return a, err
	}
	ear, err := b.listen(ctx, c.key)
	if err != nil {
		return attempt{}, err
	}
	defer ear.leave()
	// Only now is a release sure to be heard, so the key must be looked at again.
	for {
		a, err := b.acquire(ctx, c, value)
		if err != nil || a.won {
			return a, err
		}
		if err := b.linger(ctx, ear, a.next); err != nil {
			return attempt{}, err
		}
	}
}

// linger waits until it is time to try again: after a release that was told, or when the lease of
// whoever holds the key would have ended, in next or less.
func (b *Backend) linger(ctx context.Context, e *ear, next time.Duration) error {
	look := time.NewTimer(next)
	defer look.Stop()
	for {
		select {
		case <-e.news:
			switch ev := e.latest(); ev.kind {
			case won:
				look.Reset(b.until(ev.ttl))
			case proclaimed: // somebody holds it, still
			case released:
				look.Reset(spread(ev.crowd))
			case somethingElse:
				return nil
			}
		case <-look.C:
			return nil
		case <-e.broken():
			return e.failure()
		case <-ctx.Done():
			return calls.Ended(ctx)
		}
	}
}

// spread is how long to wait after a release that so many heard.
func spread(crowd int) time.Duration {
	const nobodyElse = 2 // who released, and who waits
	if crowd <= nobodyElse {
		return 0
	}
	return rand.N(min(time.Duration(crowd)*elbowRoom, maxSpread))
}

// until is how long to wait for a lease that has left to run, which at most one TTL: a little
// longer, so that it is over then, and not all who wait ask at once.
func (b *Backend) until(left time.Duration) time.Duration {
	if left < 0 || left > b.ttl {
		left = b.ttl
	}
	return left + time.Millisecond + rand.N(min(b.ttl/50, maxSpread))
}

// attempt is what one try to take the key came to.
type attempt struct {
	won   bool
	token uint64
	grant backend.Grant
	next  time.Duration // when to look again, if it was not won
}

// acquire tries once to take the key. An error may leave the fate of the try open; a win that comes to
// light when the candidacy was given up already is undone.
func (b *Backend) acquire(ctx context.Context, c *candidacy, value string) (attempt, error) {
	patient, cancel := calls.Linger(ctx, grace)
	defer cancel()
	if ctx.Err() != nil {
		return attempt{}, calls.Ended(ctx)
	}
	return ask(patient, b, func(ctx context.Context) (attempt, error) {
		a, err := b.try(ctx, c, value)
		if err == nil && a.won {
			b.mu.Lock()
			gone := c.gone
			b.mu.Unlock()
			if gone {
				_ = b.run(ctx, b.scripts.release, c.key, b.holder, c.number, channel(c.key)).Err() // or it expires
			}
		}
		return a, err
	})
}

// try is the request of acquire.
func (b *Backend) try(ctx context.Context, c *candidacy, value string) (attempt, error) {
	floor, raise := b.floor(c.key)
	heal := "0"
	if raise {
		heal = "1"
	}
	sent := backend.Now()
	answer, err := b.run(ctx, b.scripts.acquire, c.key, b.holder, c.number, b.ttl.Milliseconds(),
		strconv.FormatUint(floor, 10), strconv.FormatUint(floor+1, 10), heal, value, channel(c.key)).Slice()
	if err != nil {
		return attempt{}, err
	}
	text := func(i int) string {
		if i >= len(answer) {
			return ""
		}
		s, _ := answer[i].(string)
		return s
	}
	switch text(0) {
	case "won":
		token, err := parseToken(text(1))
		if err != nil {
			return attempt{}, err
		}
		b.caughtUp(c.key, token)
		return attempt{won: true, token: token, grant: backend.Grant{Sent: sent, TTL: b.ttl}}, nil
	case "held":
		token, err := parseToken(text(1))
		if err != nil {
			return attempt{}, err
		}
		// A loss that comes to light here is told when the key is free. Until then the holder's lease counts.
		_ = b.remember(c.key, token, parseTTL(text(2)))
		left := time.Duration(-1)
		if ms, ok := answer[len(answer)-1].(int64); ok && ms >= 0 {
			left = time.Duration(ms) * time.Millisecond
		}
		return attempt{next: b.until(left)}, nil
	case "behind":
		return attempt{}, b.standBack(c.key, text(1))
	default:
		return attempt{}, errors.New("redis gave an answer that is none: " + fmt.Sprintf("%.100q", answer))
	}
}
