package election

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"sync"

	"github.com/hustings-go/hustings/backend"
)

// Election is one candidate for one key. It does nothing until Events or Run is called. All methods are
// safe for concurrent use, also from inside a loop over Events and from the function given to Run.
type Election[T any] struct {
	backend backend.Backend
	key     string
	codec   codec[T]
	opts    options
	rules   rules
	hub     hub

	mu     sync.Mutex
	value  []byte
	driver *driver // of the campaign that runs; nil when none does
}

// New prepares a candidate for key that announces value while it leads. Nothing is sent to the store.
// It refuses a nil backend, a key outside the grammar (see [backend.ValidateKey]), a value that cannot
// be encoded, and options that do not go together.
//
// The value is written raw for string and []byte; by its TextMarshaler or BinaryMarshaler where it has
// both halves; else as JSON. The backend stays the caller's to close; many elections may share it, one for
// each key.
func New[T any](b backend.Backend, key string, value T, opts ...Option) (*Election[T], error) {
	o := newOptions(opts)
	r, err := check(b, key, &o)
	if err != nil {
		return nil, err
	}
	e := &Election[T]{backend: b, key: key, codec: newCodec[T](), opts: o, rules: r}
	if e.value, err = e.codec.encode(value); err != nil {
		return nil, fmt.Errorf("election: %w", err)
	}
	return e, nil
}

// check refuses what cannot work, before anything is asked of the store.
func check(b backend.Backend, key string, o *options) (rules, error) {
	if v := reflect.ValueOf(b); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return rules{}, errors.New("election: the backend is nil")
	}
	if err := backend.ValidateKey(key); err != nil {
		return rules{}, fmt.Errorf("election: %w", err)
	}
	ttl := b.TTL()
	if ttl <= 0 {
		return rules{}, fmt.Errorf("election: the backend's TTL is %v, must be positive", ttl)
	}
	return o.settle(ttl)
}

// Events stands for election while it is ranged over, and yields what happens. Calling it without range
// does nothing. The loop's body works while the event's context lives, asks for the next event when that
// has ended, and may take its time: leases are renewed and terms end on time meanwhile; only giving up
// the key, and the next candidacy, wait for the body to come back.
//
// Leaving the loop, by whatever way, resigns for good, and returns when the key was given up or could not
// be within a third of the TTL or 5 s. When ctx ends, the loop goes on to a last Resigned event; when the
// store refuses for good, to a last Errored event, with RetryIn 0. After that nothing of ours runs.
//
// One campaign runs per Election at a time: while one does, Events yields a single Errored event with
// ErrRunning. It may be ranged over again when that one has ended. See the package documentation for all
// promises.
func (e *Election[T]) Events(ctx context.Context) iter.Seq[Event[T]] {
	return func(yield func(Event[T]) bool) {
		d, sub, err := e.start(ctx, false)
		if err != nil {
			yield(Event[T]{State: StateErrored, Previous: e.Current().State, Err: err, At: e.opts.now().Wall(), ctx: ctx})
			return
		}
		left := false // stays so when the body panics, or ends its goroutine
		defer func() { e.finish(d, sub, !left) }()
		for {
			r, previous, ok := sub.take(d.base)
			if !ok || !yield(e.event(r.ctx, r, previous)) {
				left = true
				return
			}
		}
	}
}

// Run stands for election and calls lead for every term that it wins, on the caller's goroutine, never
// twice at a time. lead's context ends when the term is told to stop.
//
// If lead returns when its term is over or was told to stop, the campaign goes on, whatever it returned.
// Otherwise its work is done: nil resigns and Run returns nil, an error resigns and Run returns that
// error. When ctx ends, Run returns its error (and its cause, where it has one), or lead's own error, after the
// key was given up. A permanent refusal of the store ends Run with that error. An error that joins the
// failure to give up the key tells that it expires within its TTL instead. A panic in lead passes through,
// after one bounded try to give up the key. While a campaign runs, Run returns ErrRunning.
func (e *Election[T]) Run(ctx context.Context, lead func(ctx context.Context, term *Term) error) error {
	if lead == nil {
		return errors.New("election: the function to run is nil")
	}
	d, sub, err := e.start(ctx, true)
	if err != nil {
		return err
	}
	left := false
	func() {
		defer func() { e.finish(d, sub, !left) }()
		for {
			r, _, ok := sub.take(d.base)
			if !ok {
				left = true
				return
			}
			if r.term == nil {
				continue
			}
			err := lead(r.term.ctx, r.term)
			d.returned(r.term, err)
		}
	}()
	return d.err
}

// Watch yields the same events to any number of other listeners, the current one first. It never stands
// and never resigns, nobody waits for it, it survives campaigns, and it ends only with ctx or when it is
// left. Without a campaign it tells that the election is idle, and waits for one; to follow an election
// without standing for it, use Observe.
func (e *Election[T]) Watch(ctx context.Context) iter.Seq[Event[T]] {
	return func(yield func(Event[T]) bool) {
		sub := e.hub.subscribe()
		defer e.hub.unsubscribe(sub)
		for ctx.Err() == nil {
			r, previous, ok := sub.take(ctx)
			if !ok || !yield(e.event(sub.context(ctx, r), r, previous)) {
				return
			}
		}
	}
}

// Current returns what the first event of Watch would be now, without waiting. A term that is over is
// never shown as leading.
func (e *Election[T]) Current() Event[T] {
	r := e.hub.current()
	if r.spent() {
		err := context.Cause(r.term.ctx)
		if err == nil {
			err = ErrExpired
		}
		return Event[T]{State: StateErrored, Previous: StateLeader, Err: err, At: e.opts.now().Wall(), ctx: r.ctx}
	}
	return e.event(r.ctx, r, r.state)
}

// Term returns the current term, or nil when this candidate does not lead. All methods of a nil Term work.
func (e *Election[T]) Term() *Term {
	if r := e.hub.current(); r.term != nil && !r.spent() {
		return r.term
	}
	return nil
}

// Resign asks the candidate to step down, or to withdraw, and to stand again after a pause in which
// others are preferred (see WithResignPause). It returns at once and may be called from anywhere. To leave
// for good, leave the loop or end its context. Without a campaign it does nothing.
func (e *Election[T]) Resign() {
	if d := e.running(); d != nil {
		d.wish(wishes{resign: true})
	}
}

// Proclaim announces another value in the same term, under the same token, and returns when the store has
// taken it; later terms announce it too. It returns ErrNotLeading when there is no term. After another error the
// store may show either value.
func (e *Election[T]) Proclaim(ctx context.Context, value T) error {
	b, err := e.codec.encode(value)
	if err != nil {
		return fmt.Errorf("election: %w", err)
	}
	d := e.running()
	if d == nil {
		return ErrNotLeading
	}
	return d.ask(ctx, fact{kind: factProclaimAsked, value: b})
}

// start begins a campaign. finish must be called.
func (e *Election[T]) start(ctx context.Context, silent bool) (*driver, *subscription, error) {
	if ctx == nil {
		return nil, nil, errors.New("election: the context is nil")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.driver != nil {
		return nil, nil, ErrRunning
	}
	d := newDriver(ctx, e.backend, e.key, e.value, e.opts, e.rules, &e.hub)
	e.driver = d
	sub := e.hub.campaign(d.attention, silent)
	d.group.Go(func() error {
		d.run()
		sub.close()
		close(d.done)
		return nil
	})
	return d, sub, nil
}

// finish leaves a campaign and waits until nothing of it runs.
func (e *Election[T]) finish(d *driver, sub *subscription, hurry bool) {
	d.wish(wishes{leave: true, hurry: hurry})
	e.hub.unsubscribe(sub)
	_ = d.group.Wait() // its goroutines report by facts, never by errors
	e.hub.rest()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.value, e.driver = d.m.value, nil
}

func (e *Election[T]) running() *driver {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.driver
}

// event gives a record its type.
func (e *Election[T]) event(ctx context.Context, r record, previous State) Event[T] {
	return Event[T]{
		State: r.state, Previous: previous,
		Leader: e.codec.leader(r.leader),
		Term:   r.term, Err: r.err, RetryIn: r.retryIn, At: r.at, ctx: ctx,
	}
}

// leader gives a store's leader its type.
func (c codec[T]) leader(l leader) Leader[T] {
	if l.Vacant() {
		return Leader[T]{}
	}
	v, err := c.decode(l.Value)
	return Leader[T]{Value: v, Token: l.Token, Err: err}
}
