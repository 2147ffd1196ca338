package rediskv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"

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
// A free key takes one request, which is sent at once, or together with those of other elections of the Backend that begin or
// end at the same time. Otherwise the candidate listens to the key's channel, where a release
// is told, and looks by itself when the holder's lease would have ended; nothing queues candidates, and the
// first to try wins. While it waits there is nothing of it in the store. The Grant counts from when the request was sent
// that won, or from another election's of the Backend up to a tenth of the TTL before, to be renewed together with it.
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
		c.leads, c.grant = true, backend.Grant{Sent: b.onBeat(a.grant.Sent, b.ttl/nearPart), TTL: b.ttl}
		return &Lease{b: b, c: c, token: a.token, won: c.grant}, nil
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

// isGone tells whether c was given up, or lost.
func (b *Backend) isGone(c *candidacy) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return c.gone
}

// remove takes the record of c, and of no other candidacy, out of the store. Without an error it is gone.
func (b *Backend) remove(ctx context.Context, c *candidacy) error {
	return b.write(ctx, &writing{c: c})
}

// win returns when the key was seen to be this candidacy's own.
func (b *Backend) win(ctx context.Context, c *candidacy, value string) (attempt, error) {
	a, err := b.acquire(ctx, c, value)
	if err != nil || a.won {
		return a, err
	}
	w := b.stay(ctx, c.key, a.held)
	defer w.leave()
	for {
		// Not before it is sure that a release is heard.
		if err := w.linger(ctx); err != nil {
			return attempt{}, err
		}
		a, err := b.acquire(ctx, c, value)
		if err != nil || a.won {
			return a, err
		}
		w.looked(a.held)
	}
}

// waiter tells a candidate when to look at the key.
type waiter struct {
	b     *Backend
	ear   *ear
	calls chan struct{} // has an element when the ear has called
	look  *time.Timer

	// Guarded by Backend.mu.

	begun   bool // the ear is ready
	told    bool // an event has set look, since the candidate looked last
	outlook outlook
}

// stay makes a waiter behind a term. Its first look is due when events are heard.
func (b *Backend) stay(ctx context.Context, key string, held record) *waiter {
	w := &waiter{b: b, calls: make(chan struct{}, 1), look: time.NewTimer(b.bound), outlook: outlook{b: b}}
	b.mu.Lock()
	defer b.mu.Unlock()
	w.outlook.seen(held)
	w.ear = b.tune(ctx, key, w.hear, w.called)
	w.called() // events may be heard already
	return w
}

// called takes a call of the ear.
func (w *waiter) called() {
	select {
	case w.calls <- struct{}{}:
	default:
	}
}

func (w *waiter) leave() {
	w.look.Stop()
	w.ear.leave()
}

// hear takes an event. b.mu is held.
func (w *waiter) hear(ev event) {
	switch ev.kind {
	case won:
		w.look.Reset(w.outlook.told(ev))
	case renewed:
		if !w.outlook.about(ev) {
			return
		}
		w.look.Reset(w.outlook.told(ev))
	case proclaimed: // somebody holds it, still
		return
	case released:
		w.look.Reset(spread(ev.crowd))
	case somethingElse:
		w.look.Reset(0)
	}
	w.told = true
}

// looked takes what a look said. When to look next, an event that came since may have set.
func (w *waiter) looked(held record) {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	if next := w.outlook.seen(held); !w.told {
		w.look.Reset(next)
	}
}

// linger waits until it is time to look: when events are heard, after a release that was told, or when the lease of
// whoever holds the key would have ended.
func (w *waiter) linger(ctx context.Context) error {
	for {
		select {
		case <-w.calls:
			if begins, err := w.begins(); begins || err != nil {
				return err
			}
		case <-w.look.C:
			return w.due()
		case <-ctx.Done():
			return calls.Ended(ctx)
		}
	}
}

// begins reports whether events are heard from now on, or why none will be.
func (w *waiter) begins() (bool, error) {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	ready, err := w.ear.state()
	if !ready || w.begun {
		return false, err
	}
	w.begun, w.told = true, false
	return true, err
}

// due begins a look.
func (w *waiter) due() error {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	w.told = false
	if !w.begun {
		return fmt.Errorf("%w to a subscription within %v", errNoAnswer, w.b.bound)
	}
	return nil
}

// spread is how long to wait after a release that so many heard.
func spread(crowd int) time.Duration {
	const nobodyElse = 2 // who released, and who waits
	if crowd <= nobodyElse {
		return 0
	}
	return rand.N(min(time.Duration(crowd)*elbowRoom, maxSpread))
}

// attempt is what one try to take the key came to.
type attempt struct {
	won   bool
	token uint64
	grant backend.Grant
	held  record // by whom, if it was not won; without the value
}

// acquire tries once to take the key. An error may leave the fate of the try open; a win that comes to
// light when the candidacy was given up already is undone.
func (b *Backend) acquire(ctx context.Context, c *candidacy, value string) (attempt, error) {
	patient, cancel := calls.Linger(ctx, grace)
	defer cancel()
	if ctx.Err() != nil {
		return attempt{}, calls.Ended(ctx)
	}
	w := &writing{c: c, takes: true, value: value}
	if err := b.write(patient, w); err != nil {
		return attempt{}, err
	}
	return w.attempt, nil
}

// judge reads the answer to a try to take key that was sent at sent.
func (b *Backend) judge(key string, sent backend.Instant, to *redis.Cmd) (attempt, error) {
	answer, err := to.Slice()
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
		b.caughtUp(key, token)
		return attempt{won: true, token: token, grant: backend.Grant{Sent: sent, TTL: b.ttl}}, nil
	case "held":
		token, err := parseToken(text(1))
		if err != nil {
			return attempt{}, err
		}
		held := record{holder: text(3), token: token, ttl: parseTTL(text(2)), left: -1}
		if ms, ok := answer[len(answer)-1].(int64); ok && ms >= 0 {
			held.left = time.Duration(ms) * time.Millisecond
		}
		// A loss that comes to light here is told when the key is free. Until then the holder's lease counts.
		_ = b.remember(key, token, held.ttl)
		return attempt{held: held}, nil
	case "behind":
		return attempt{}, b.standBack(key, text(1))
	default:
		return attempt{}, errors.New("redis gave an answer that is none: " + fmt.Sprintf("%.100q", answer))
	}
}
