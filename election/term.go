package election

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Term is one time of leading: from the moment that the store confirmed the win to the moment that this
// candidate may not act on it any more. It answers from the local clocks, so that it turns invalid by
// itself, also when the store cannot be reached, the process was stopped or the machine slept.
//
// All methods are safe for concurrent use, and on a nil *Term, which is a term that is over.
type Term struct {
	number  uint64 // of the candidacy that won it
	token   uint64
	now     func() instant
	confirm func(context.Context) error
	span    atomic.Pointer[span] // nil once the term was seen over; never set again after that

	ctx    context.Context //nolint:containedctx // it is the term: it lives and ends with it
	cancel context.CancelCauseFunc
	work   work
}

// span is what the latest grant allows.
type span struct {
	sent instant
	hard time.Duration
	skew time.Duration
}

type termKey struct{}

// TermFrom returns the term that ctx was made for: the context of a Leader event, of the function given
// to Run, of Term.Go, and of every context derived from them. It returns nil where there is none.
func TermFrom(ctx context.Context) *Term {
	t, _ := ctx.Value(termKey{}).(*Term)
	return t
}

func newTerm(ctx context.Context, now func() instant, token uint64, g grant, p plan) *Term {
	t := &Term{token: token, now: now}
	t.ctx, t.cancel = context.WithCancelCause(context.WithValue(ctx, termKey{}, t))
	t.span.Store(&span{g.Sent, p.hard, p.skew})
	return t
}

// Token is the fencing token: from 1 to math.MaxInt64, greater than that of every earlier term of the
// key, and the same that observers see. Hand it to whatever the term guards, and let that refuse a
// token lower than the highest it has seen: then no pause, broken clock or late packet can corrupt it.
// A nil Term's token is 0.
func (t *Term) Token() uint64 {
	if t == nil {
		return 0
	}
	return t.token
}

// Valid reports whether the term still holds, by the clocks of this machine: no other candidate can
// hold a valid term while it is true, under the assumptions in the package documentation. It asks
// nobody, takes no lock and does not allocate, so that it can stand before every single write. A delay
// between the answer and its use is the caller's: only the token covers that.
//
// Once it was seen over, it stays over. Where the wall clock and the monotonic clock have parted by more
// than half of the margin, it is false until the next renewal, which follows at once.
func (t *Term) Valid() bool {
	if t == nil {
		return false
	}
	for {
		s := t.span.Load()
		if s == nil {
			return false
		}
		now := t.now()
		switch {
		case now.Since(s.sent) < s.hard:
			return now.Skew(s.sent) <= s.skew
		case t.span.CompareAndSwap(s, nil):
			return false
		}
		// A renewal was installed meanwhile: look again.
	}
}

// dead reports whether the term is over for good.
func (t *Term) dead() bool { return !t.Valid() && t.span.Load() == nil }

// install gives the term what a renewal brought, unless it is over.
func (t *Term) install(g grant, p plan) {
	next := &span{g.Sent, p.hard, p.skew}
	for {
		s := t.span.Load()
		if s == nil || t.span.CompareAndSwap(s, next) {
			return
		}
	}
}

// Deadline is when the term is over unless it is renewed before, as far as is known now. Every renewal
// moves it. It is the zero Time when the term is over.
func (t *Term) Deadline() time.Time {
	if !t.Valid() {
		return time.Time{}
	}
	s := t.span.Load()
	if s == nil {
		return time.Time{}
	}
	return time.Now().Add(s.hard - t.now().Since(s.sent))
}

// Confirm asks the store whether the term stands, and returns nil only if it does and the term is
// valid. It is the only check that notices a paused virtual machine, whose clocks all stood still. It
// costs a round trip, extends the lease as every renewal does, and one request answers all who ask at
// the same time. When the term has been lost the error wraps ErrLost; when it is over for another
// reason, ErrExpired or ErrNotLeading; any other error proves nothing either way.
func (t *Term) Confirm(ctx context.Context) error {
	if t == nil || t.dead() {
		return ErrNotLeading
	}
	if err := t.confirm(ctx); err != nil {
		return err
	}
	if !t.Valid() {
		return ErrExpired
	}
	return nil
}

// Bind returns a context that ends with parent or with the term, whichever is first; context.Cause
// tells which. It carries the term. The caller must call the returned function, which frees what Bind
// holds. For a nil Term, the context has ended, with ErrNotLeading.
func (t *Term) Bind(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.WithValue(parent, termKey{}, t))
	if t == nil {
		cancel(ErrNotLeading)
		return ctx, func() {}
	}
	stop := context.AfterFunc(t.ctx, func() { cancel(context.Cause(t.ctx)) })
	return ctx, func() {
		stop()
		cancel(context.Canceled)
	}
}

// Go runs f in a goroutine of its own as part of the term's work: the key is not given up, and no next
// candidacy begins, before f has returned. Its context ends when the term is told to stop. Go reports
// whether f was started; it is not when the term has been told to stop already.
func (t *Term) Go(f func(ctx context.Context)) bool {
	if t == nil || t.ctx.Err() != nil || !t.work.begin() {
		return false
	}
	go func() {
		defer t.work.end()
		f(t.ctx)
	}()
	return true
}

// work counts what still runs on behalf of a term.
type work struct {
	mu     sync.Mutex
	n      int
	closed bool
	then   func() // called once, when closed and nothing runs
}

// begin adds one, unless the term was told to stop.
func (w *work) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.n++
	return true
}

func (w *work) end() {
	w.mu.Lock()
	w.n--
	last := w.n == 0 && w.closed
	w.mu.Unlock()
	if last {
		w.then()
	}
}

// drain lets nothing begin any more. It reports whether nothing runs; if something does, it calls then
// when the last of it has returned, on whichever goroutine that was.
func (w *work) drain(then func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed, w.then = true, then
	return w.n == 0
}
