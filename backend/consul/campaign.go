package consul

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
	"github.com/hustings-go/hustings/backend/internal/flight"
	"github.com/hustings-go/hustings/retry"
)

// grace is how long the write that takes a key may go on after its caller has gone, so that the answer
// usually still tells what is to be given up.
const grace = time.Second

// Campaign stands for key with value announced, and blocks until it is won or fails. See
// [backend.Backend] for the contract; what is Consul's own:
//
// Consul has no queue. A query blocks on the key for those who wait in one Backend, and all of them wake when it is free. Who
// has met no other candidate takes it at once; others wait for a random while first, look again, and take it if nobody
// else did. Waiting sends one query per TTL, besides the session's renewal every third
// of it; or, if more keys are waited for than queries may block, takes part in a look every second (see WithMaxQueries).
//
// Errors: ErrBusy, ErrClosed; permanent ones for a bad key, a value of more than MaxValueLen bytes, a key
// that holds something else than an election, or a server that is too old; an ErrDenied when the ACL token
// is not known or lacks a right. Everything else passes, the loss of the session included: the next
// Campaign makes a new session. After every error the key was given up in one bounded try, or will be before
// it is campaigned for again. Campaign is safe for concurrent use and does not keep value.
func (b *Backend) Campaign(ctx context.Context, key string, value []byte) (backend.Lease, error) {
	if err := backend.ValidateKey(key); err != nil {
		return nil, err
	}
	c, err := b.stand(ctx, key, value)
	if err != nil {
		return nil, b.wrap("campaign", key, err)
	}
	return &Lease{b: b, c: c, won: c.grant}, nil
}

// stand is Campaign without the names in its errors.
func (b *Backend) stand(ctx context.Context, key string, value []byte) (*candidacy, error) {
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
	err = b.win(ctx, c, value)
	if err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		c.leads, c.grant = true, c.session.grant
		b.terms++
		b.share()
		b.touch(key)
		return c, nil
	}
	b.withdraw(context.WithoutCancel(ctx), c)
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
		if !c.leads || !over(backend.Now(), c.grant) {
			return nil, backend.ErrBusy
		}
		b.give(c, c.grant.Sent)
	}
	c := &candidacy{key: key}
	b.standing[key] = c
	return c, nil
}

// withdraw gives c up, with one bounded try to remove what it holds. What remains is remembered by give.
func (b *Backend) withdraw(ctx context.Context, c *candidacy) {
	b.mu.Lock()
	b.give(c, backend.Now())
	s := c.session
	b.mu.Unlock()
	if s == nil {
		return
	}
	// The caller has the error that led here. What remains is remembered.
	_ = b.remove(ctx, c)
	b.settle(ctx, s)
}

// win returns nil when c has the key.
func (b *Backend) win(ctx context.Context, c *candidacy, value []byte) error {
	if err := b.tidy(ctx, c.key); err != nil {
		return err
	}
	if err := b.join(ctx, c); err != nil {
		return err
	}
	waited, err := b.run(ctx, c, value)
	if !errors.Is(err, errSessionLost) || waited {
		return err
	}
	// The session there was turned out to be gone at the first use of it: a new one is as good.
	b.mu.Lock()
	delete(c.session.members, c)
	b.mu.Unlock()
	if err := b.join(ctx, c); err != nil {
		return err
	}
	_, err = b.run(ctx, c, value)
	return err
}

// run waits for the key and takes it, on the session that c has joined. It reports whether it waited for longer
// than the first look.
func (b *Backend) run(ctx context.Context, c *candidacy, value []byte) (waited bool, _ error) {
	w := &waiter{b: b, c: c, value: value, pulse: b.pulse(c.session), window: b.window(c.key), news: make(chan struct{}, 1)}
	defer w.pulse.Stop()
	err := w.run(ctx)
	w.leave()
	b.keepWindow(c.key, w.window)
	return w.waited, err
}

// maxRetry bounds the time from one refusal for a lock-delay to the next try.
const maxRetry = time.Second

// waiter is a candidacy on its way to the key. It is used by one goroutine.
type waiter struct {
	b       *Backend
	c       *candidacy
	value   []byte
	pulse   *flight.Pulse
	window  window
	news    chan struct{} // that the listener was called
	l       *listener     // nil before the first wait
	waited  bool          // for longer than the first look
	looking time.Duration // how long the last look took
}

func (w *waiter) leave() {
	if w.l != nil {
		w.b.leave(w.l)
	}
}

// run waits until the key is free and takes it.
func (w *waiter) run(ctx context.Context) error {
	now, err := w.look(ctx)
	of := w.window // in which drawn was picked
	for delay, drawn := time.Duration(0), time.Duration(0); err == nil; {
		switch {
		case now.kv.Session != "":
			now, err = w.vacancy(ctx, now)
			of = w.window
			delay, drawn = 0, of.draw()
			continue
		case exists(&now.kv) && now.kv.Flags != api.LockFlagValue:
			return errForeign
		}
		// It is free, or was so when we looked.
		if pause := delay + drawn; pause > 0 {
			if now, err = w.next(ctx, now, pause); err != nil {
				return err
			}
			longer := of.busy(w.looking)
			w.window = w.window.looked(w.looking)
			switch {
			case now.kv.Session != "":
				continue
			case longer > of+of/2:
				of = longer
				delay, drawn = 0, of.draw()
				continue
			}
		}
		began := time.Now()
		switch err = w.acquire(ctx); {
		case isConflict(err, saysDelay):
			// The session that held it was ended, and nothing will tell when its lock-delay is over.
			w.waited = true
			of = max(w.window, window(firstWindow))
			err, delay, drawn = nil, w.afterDelay(delay), of.draw()
		case isConflict(err, saysHeld):
			w.window = of.late(drawn, time.Since(began))
			of = w.window
			delay, drawn = 0, of.draw()
			now, err = w.look(ctx)
		case err == nil:
			w.window = min(w.window, of.won(drawn))
			return nil
		}
	}
	return err
}

// vacancy waits until the key is not held any more. Who sees it in other hands without having seen it free would have
// written in vain.
func (w *waiter) vacancy(ctx context.Context, now view) (view, error) {
	w.waited = true
	for now.kv.Session != "" {
		next, err := w.next(ctx, now, 0)
		if err != nil {
			return view{}, err
		}
		if next.kv.Session != "" && !sameTerm(&next.kv, &now.kv) {
			w.window = w.window.late(0, 0)
		}
		now = next
	}
	return now, nil
}

// afterDelay is the time until the next try after one that was refused for a lock-delay: first our own,
// which candidates of one election usually share, and then longer ones.
func (w *waiter) afterDelay(last time.Duration) time.Duration {
	next := max(w.b.lockDelay, 10*time.Millisecond)
	if last >= next {
		next = 2 * last
	}
	return min(next, maxRetry)
}

// look returns what there is now.
func (w *waiter) look(ctx context.Context) (view, error) {
	began := time.Now()
	now, err := w.b.watch(ctx, w.c.key, 0, 0)
	w.looking = time.Since(began)
	switch {
	case err == nil:
		if w.l != nil {
			w.b.found(w.l, now)
		}
		return now, nil
	case ctx.Err() != nil:
		return view{}, calls.Ended(ctx)
	default:
		return view{}, err
	}
}

// next waits for something else than now, or if pause is not 0 for so long, and returns what there is. It keeps the session
// alive. Who pauses asks for nothing meanwhile: where many wait, a query of each would be ahead of the write of the first.
func (w *waiter) next(ctx context.Context, now view, pause time.Duration) (view, error) {
	b := w.b
	var news <-chan struct{}
	var enough <-chan time.Time
	if pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		enough = timer.C
	} else {
		if w.l == nil {
			w.l = b.listen(w.c.key, &now, func() {
				select {
				case w.news <- struct{}{}:
				default: // there is one that was not taken
				}
			})
		}
		news = w.news
		b.want(w.l)
	}
	for {
		select {
		case <-news:
			switch now, known, news, err := b.take(w.l); {
			case err != nil:
				return view{}, err
			case !news: // but what was called for before
				b.want(w.l)
			case known:
				return now, nil
			default:
				return w.look(ctx)
			}
		case <-enough:
			return w.look(ctx)
		case <-w.pulse.Due():
			w.pulse.Send(ctx)
		case <-w.pulse.Answered():
			if err := w.pulse.Check(); err != nil {
				return view{}, err
			}
		case <-w.c.session.lost:
			return view{}, errSessionLost
		case <-ctx.Done():
			return view{}, calls.Ended(ctx)
		}
	}
}

// acquire takes the key, if it is free. One transaction locks it and makes its token, so that the answer
// already is the win: what it returns was read from the store when the write was done.
func (w *waiter) acquire(ctx context.Context) error {
	if ctx.Err() != nil {
		return calls.Ended(ctx)
	}
	b, c := w.b, w.c
	// A write that is broken off may or may not have happened; so the caller's leaving does not break it
	// off at once.
	patient, cancel := calls.Linger(ctx, grace)
	defer cancel()
	b.mu.Lock()
	c.written = true
	b.mu.Unlock()
	results, err := b.commit(patient, acquiring(c.key, c.session.id, w.value))
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		_, refused := errors.AsType[*conflict](err)
		marked := classify(err)
		refused = refused || retry.IsPermanent(marked) || errors.Is(marked, backend.ErrDenied)
		c.written = !refused
		c.session.spent = c.session.spent || c.written
		if errors.Is(marked, errSessionLost) {
			b.bury(c.session)
			return marked
		}
		return err
	}
	lead, term := find(results, c.key), find(results, sibling(c.key))
	if lead == nil || term == nil || lead.Session != c.session.id || term.Session != c.session.id || term.ModifyIndex == 0 {
		c.session.spent = true
		return errors.New("the store did not say that the key is this session's")
	}
	c.index, c.token = lead.ModifyIndex, term.ModifyIndex
	return nil
}
