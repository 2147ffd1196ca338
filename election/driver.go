package election

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/retry"
)

// driver executes the machine's effects for one campaign. One loop takes facts and timers and never
// blocks in the store; each call to the store is a goroutine of its own, of which at most one of
// Campaign, Renew, Proclaim and Resign, one Wait and one Observe are alive. All of them are waited for.
type driver struct {
	backend backend.Backend
	key     string
	opts    options
	hub     *hub
	m       *machine

	ctx  context.Context //nolint:containedctx // the caller's: the driver is the campaign, and lives as long as it
	base context.Context //nolint:containedctx // its values alone: a key is given up after ctx has ended

	group     errgroup.Group
	facts     chan message
	attention chan struct{} // of capacity 1: there are wishes or news, or listeners came or went
	done      chan struct{} // closed when the loop has ended
	err       error         // what it ended with; to be read after that

	// The loop's own.
	pending       []message
	came          backend.Lease // with the fact that is being told
	lease         backend.Lease // of the term that the machine holds; no other is needed any more
	term          *Term
	cancelCall    context.CancelFunc
	cancelWait    context.CancelFunc
	cancelObserve context.CancelFunc
	finished      bool

	mu      sync.Mutex
	wishes  wishes
	news    []message             // from the store's own goroutines, which wait for nobody
	callers map[uint64]chan error // who waits for an answer; nil until somebody does
	lastID  uint64
}

// wishes are what callers want without waiting for it.
type wishes struct {
	resign bool // to step down, and to stand again
	leave  bool // to leave for good
	hurry  bool // with one try to release
}

// message is a fact with the lease that came with it.
type message struct {
	fact
	lease backend.Lease
}

func newDriver(ctx context.Context, b backend.Backend, key string, value []byte, o options, r rules, h *hub) *driver {
	// Renewals and observations have a pace of their own: their failures have other limits.
	pace := retry.Policy{Max: min(r.ttl/pausePart, maxPause)}
	return &driver{
		backend:   b,
		key:       key,
		opts:      o,
		hub:       h,
		m:         newMachine(r, value, o.backoff(o.policy), o.backoff(pace), o.backoff(pace)),
		ctx:       ctx,
		base:      context.WithoutCancel(ctx),
		facts:     make(chan message),
		attention: make(chan struct{}, 1),
		done:      make(chan struct{}),
	}
}

// run is the loop. It returns when the campaign is over; what is left of it then returns by itself.
func (d *driver) run() {
	stopped := d.ctx.Done()
	var alarm *time.Timer // none while all that can happen is told
	var rings <-chan time.Time
	d.step(message{fact: fact{kind: factListeners, n: d.hub.listeners()}})
	if d.ctx.Err() == nil {
		d.step(message{fact: fact{kind: factStart}})
	}
	for !d.finished {
		switch wait, ok := d.m.wake(d.opts.now()); {
		case ok && alarm == nil:
			alarm = time.NewTimer(wait)
			rings = alarm.C
		case ok:
			alarm.Reset(wait)
		case alarm != nil:
			alarm.Stop()
			alarm, rings = nil, nil
		}
		select {
		case f := <-d.facts:
			d.step(f)
		case <-rings:
			d.look()
		case <-d.attention:
			d.attend()
		case <-stopped:
			stopped = nil
			d.step(message{fact: fact{kind: factStopAsked, err: endOf(d.ctx)}})
		}
	}
	if alarm != nil {
		alarm.Stop()
	}
	for _, cancel := range []context.CancelFunc{d.cancelWait, d.cancelObserve} {
		if cancel != nil {
			cancel()
		}
	}
}

// attend tells the machine what the store has told, who listens and what was wished for.
func (d *driver) attend() {
	d.mu.Lock()
	w, news := d.wishes, d.news
	d.wishes, d.news = wishes{}, nil
	d.mu.Unlock()
	for _, m := range news {
		d.step(m)
	}
	d.step(message{fact: fact{kind: factListeners, n: d.hub.listeners()}})
	if w.resign {
		d.step(message{fact: fact{kind: factResignAsked, err: ErrResigned}})
	}
	if w.leave {
		f := fact{kind: factStopAsked, err: ErrResigned}
		if w.hurry {
			f.n = 1
		}
		d.step(message{fact: f})
	}
}

// look lets the machine look at the clocks, and tells it what only the term has seen: a clock that went
// past the deadline and was set back since.
func (d *driver) look() {
	if d.term != nil && d.term.dead() {
		d.step(message{fact: fact{kind: factExpired, seq: d.term.number}})
		return
	}
	d.step(message{fact: fact{kind: factTick}})
}

func (d *driver) step(f message) {
	d.pending = append(d.pending, f)
	for len(d.pending) > 0 {
		f := d.pending[0]
		d.pending = d.pending[1:]
		d.came = f.lease
		effects := d.m.step(d.opts.now(), f.fact)
		if d.came != nil && d.m.term == f.seq {
			d.lease = d.came
		}
		for _, e := range effects {
			d.execute(e)
		}
		if d.m.term == 0 {
			d.lease = nil
		}
	}
	d.pending = nil
}

// post hands a fact to the loop. After the campaign's end nobody needs it.
func (d *driver) post(m message) {
	select {
	case d.facts <- m:
	case <-d.done:
	}
}

func (d *driver) execute(e effect) {
	switch e.kind {
	case effectCampaign:
		d.campaign(e)
	case effectAbort:
		d.cancelCall()
	case effectRenew, effectProclaim, effectRelease:
		d.call(e)
	case effectDiscard:
		d.discard(d.came)
	case effectWait:
		d.wait(e.seq)
	case effectBegin:
		d.begin(e)
	case effectInstall:
		if d.term != nil && d.term.number == e.term {
			d.term.install(e.grant, e.plan)
		}
	case effectCancel:
		d.term.cancel(e.err)
	case effectOver:
		d.over(e.term)
	case effectAwait:
		d.await(e.term)
	case effectObserve:
		d.observe(e.seq)
	case effectObserveStop:
		d.cancelObserve()
	case effectPublish:
		d.publish(e.event)
	case effectAmend:
		d.hub.amend(d.term, e.value)
	case effectAnswer:
		d.answer(e.id, e.err)
	case effectReport:
		d.warn(e.text, e.err)
	case effectFinish:
		d.finished, d.err = true, e.err
	case effectCount:
	}
}

func (d *driver) begin(e effect) {
	t := newTerm(d.ctx, d.opts.now, e.token, e.grant, e.plan)
	t.number = e.term
	t.confirm = func(ctx context.Context) error { return d.ask(ctx, fact{kind: factConfirmAsked}) }
	d.term = t
}

func (d *driver) over(number uint64) {
	if d.cancelWait != nil {
		d.cancelWait()
		d.cancelWait = nil
	}
	if d.term != nil && d.term.number == number {
		d.term.span.Store(nil)
	}
}

// await reports when the term's work has returned.
func (d *driver) await(number uint64) {
	returned := message{fact: fact{kind: factWorkReturned, seq: number}}
	if d.term.work.drain(func() { d.post(returned) }) {
		d.pending = append(d.pending, returned)
	}
}

func (d *driver) publish(n notice) {
	r := record{state: n.state, leader: n.leader, err: n.err, retryIn: n.retryIn, at: n.at.Wall()}
	switch {
	case n.term != 0:
		r.term, r.ctx = d.term, d.term.ctx
	default:
		r.ctx, r.cancel = context.WithCancelCause(d.ctx)
	}
	if n.ends != 0 {
		r.ends = d.term
	}
	level := slog.LevelDebug
	if n.state == StateErrored {
		level = slog.LevelWarn
	}
	d.opts.logger.LogAttrs(d.base, level, "election: "+n.state.String(), slog.String("key", d.key),
		slog.Uint64("token", n.leader.Token), slog.Any("err", n.err), slog.Duration("retry_in", n.retryIn))
	d.hub.publish(r)
}

// warn logs what the user should know of.
func (d *driver) warn(text string, err error) {
	d.opts.logger.LogAttrs(d.base, slog.LevelWarn, text, slog.String("key", d.key), slog.Any("err", err))
}

// ask hands a wish to the machine and waits for its answer.
func (d *driver) ask(ctx context.Context, f fact) error {
	answer := make(chan error, 1)
	d.mu.Lock()
	d.lastID++
	f.id = d.lastID
	if d.callers == nil {
		d.callers = make(map[uint64]chan error)
	}
	d.callers[f.id] = answer
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.callers, f.id)
		d.mu.Unlock()
	}()
	select {
	case d.facts <- message{fact: f}:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-d.done:
		return ErrNotLeading
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-d.done:
		return ErrNotLeading
	}
}

func (d *driver) answer(id uint64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c, ok := d.callers[id]; ok {
		c <- err // of capacity 1, and answered once
	}
}

// wish hands on what a caller wants, without waiting.
func (d *driver) wish(w wishes) {
	d.mu.Lock()
	d.wishes.resign = d.wishes.resign || w.resign
	d.wishes.leave = d.wishes.leave || w.leave
	d.wishes.hurry = d.wishes.hurry || w.hurry
	d.mu.Unlock()
	d.rouse()
}

// tell takes what the store says by itself, without waiting. Of leaders that the loop has not looked at yet only the
// last matters.
func (d *driver) tell(m message) {
	d.mu.Lock()
	if n := len(d.news); n > 0 && m.kind == factObserved && d.news[n-1].kind == factObserved && d.news[n-1].seq == m.seq {
		d.news[n-1] = m
	} else {
		d.news = append(d.news, m)
	}
	d.mu.Unlock()
	d.rouse()
}

func (d *driver) rouse() {
	select {
	case d.attention <- struct{}{}:
	default: // it will look
	}
}

// returned tells the loop that lead has returned, in the order in which things happened: a context that
// had ended by then ended first.
func (d *driver) returned(t *Term, err error) {
	if d.ctx.Err() != nil {
		d.post(message{fact: fact{kind: factStopAsked, err: endOf(d.ctx)}})
	}
	if t.ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Cause(t.ctx))) {
		err = nil // the context's own error tells nothing new
	}
	d.post(message{fact: fact{kind: factLeadReturned, seq: t.number, err: err}})
}

// endOf is why ctx ended, for those who ask for its error as well as for those who ask for its cause.
func endOf(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, ctx.Err()) {
		return fmt.Errorf("%w: %w", ctx.Err(), cause)
	}
	return ctx.Err()
}
