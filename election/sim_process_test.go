package election

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/hustings-go/hustings/retry"
)

// process is one campaign of one incarnation: a real driver's state, hub and machine, whose goroutines
// are played by the simulation.
type process struct {
	w      *world
	h      *host
	d      *driver
	hub    hub
	cancel context.CancelCauseFunc
	client *simClient
	loop   *loop
	others []*eye // listeners besides the loop
	limit  int    // of failures in a row, by its policy; 0 is none

	dead     bool // crashed: whatever comes for it is lost
	finished bool
	stepping bool
	pending  []fact
	timer    *localTimer
	asks     map[uint64]simAsk
	seen     seen // what the checker remembers of it
}

// simAsk is a Confirm or Proclaim that waits for its answer.
type simAsk struct {
	kind  factKind
	at    time.Duration
	value string
}

var simLog = slog.New(slog.DiscardHandler)

// newProcess starts a campaign with an identity of its own.
func newProcess(h *host) {
	w := h.w
	if old := h.proc; old != nil {
		old.dead = true // it has ended; what is still on its way to it finds nobody
		old.client.vanish()
	}
	p := &process{w: w, h: h, asks: make(map[uint64]simAsk)}
	h.proc = p
	o := newOptions(w.options())
	o.now, o.random = h.instant, w.rnd.Float64
	if w.chance(4) {
		o.policy.Initial = time.Millisecond
	}
	p.limit = o.policy.Limit
	r, err := o.settle(w.ttl)
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancelCause(w.ctx)
	p.cancel = cancel
	p.seen.value = "v" + string(rune('0'+h.id))
	p.d = newDriver(ctx, nil, testKey, []byte(p.seen.value), o, r, &p.hub)
	p.client = &simClient{p: p, held: make(map[uint64]*candidacy)}
	p.loop = &loop{run: w.chance(3)}
	p.loop.p, p.loop.sub = p, p.hub.campaign(p.d.attention, p.loop.run)
	w.note(h, "starts", 0)
	p.tell(fact{kind: factListeners, n: p.hub.listeners()})
	p.tell(fact{kind: factStart})
}

// options are what the scenario's candidates want.
func (s *scenario) options() []Option {
	opts := []Option{WithLogger(simLog), WithRetry(retry.Policy{Limit: s.wants.limit})}
	for _, o := range []struct {
		d    time.Duration
		with func(time.Duration) Option
	}{
		{s.wants.margin, WithMargin}, {s.wants.drain, WithDrain}, {s.wants.drainLimit, WithDrainLimit}, {s.wants.pause, WithResignPause},
	} {
		if o.d >= 0 {
			opts = append(opts, o.with(o.d))
		}
	}
	return opts
}

// receive takes what comes from the network, when the machine runs.
func (p *process) receive(f func()) {
	if p.dead {
		return
	}
	p.h.run(func() {
		if !p.dead {
			f()
		}
	})
}

// tell is the driver's loop for one fact.
func (p *process) tell(f fact) {
	if p.dead || p.finished {
		return
	}
	p.pending = append(p.pending, f)
	if p.stepping {
		return
	}
	p.stepping = true
	for len(p.pending) > 0 && !p.finished {
		f := p.pending[0]
		p.pending = p.pending[1:]
		p.w.note(p.h, factNames[f.kind], f.seq)
		p.w.check.fact(p, f)
		for _, e := range p.d.m.step(p.h.instant(), f) {
			p.w.note(p.h, effectNames[e.kind], e.seq)
			p.w.check.effect(p, e)
			p.execute(e)
		}
		p.w.check.stepped(p)
	}
	p.pending, p.stepping = nil, false
	for _, e := range p.others {
		if p.w.chance(4) {
			e.look()
		}
	}
	p.loop.wake()
	p.arm()
}

// arm sets the driver's timer. Timers are late, sometimes by a lot.
func (p *process) arm() {
	p.timer.stop()
	wait, ok := p.d.m.wake(p.h.instant())
	if p.finished || !ok {
		return
	}
	if p.w.chance(20) {
		wait += p.w.upTo(hand)
	}
	p.timer = p.h.after(wait, p.look)
}

// look is the driver's.
func (p *process) look() {
	if p.dead || p.finished {
		return
	}
	if t := p.d.term; t != nil && t.dead() {
		p.tell(fact{kind: factExpired, seq: t.number})
		return
	}
	p.tell(fact{kind: factTick})
}

// execute plays the effects that the driver hands to goroutines, and leaves the others to it.
func (p *process) execute(e effect) {
	switch e.kind {
	case effectCampaign:
		p.client.campaign(e.seq, e.value)
	case effectRenew, effectProclaim, effectRelease:
		p.client.call(e)
	case effectDiscard:
		p.client.discard(e.term)
	case effectWait:
		p.client.wait(e)
	case effectObserve:
		p.client.observe(e.seq)
	case effectAwait:
		returned := fact{kind: factWorkReturned, seq: e.term}
		if p.d.term.work.drain(func() { p.h.after(p.w.upTo(time.Millisecond), func() { p.tell(returned) }) }) {
			p.pending = append(p.pending, returned)
		}
	case effectCancel:
		p.d.execute(e)
		p.loop.told()
	case effectAnswer:
		p.answered(e)
	case effectFinish:
		p.d.execute(e)
		p.finish()
	default:
		p.d.execute(e)
	}
}

// finish is the end of the driver's loop.
func (p *process) finish() {
	p.finished = true
	p.timer.stop()
	p.client.vanish()
	p.loop.sub.close()
	clear(p.asks) // Confirm and Proclaim return ErrNotLeading by themselves
	p.again()
}

// again has another campaign begin on the host, sooner or later, of a new incarnation.
func (p *process) again() {
	p.w.at(p.w.now+p.w.upTo(p.w.ttl), func() {
		switch {
		case p.h.proc != p || p.w.closing:
		case p.loop.ended:
			p.h.run(func() { newProcess(p.h) })
		default: // the body is still out
			p.again()
		}
	})
}

// ask is Confirm or Proclaim.
func (p *process) ask(k factKind, value []byte) {
	id := uint64(p.w.rnd.Int64())
	p.asks[id] = simAsk{k, p.w.now, string(value)}
	p.tell(fact{kind: k, id: id, value: value})
}

func (p *process) answered(e effect) {
	a, ok := p.asks[e.id]
	if !ok {
		p.w.check.fail("answers", "host %d: caller %d answered twice, or never asked", p.h.id, e.id)
		return
	}
	delete(p.asks, e.id)
	p.w.check.answered(p, a, e.err)
}

// wish is something that the user wants.
func (p *process) wish(f fault) {
	if p.dead || p.finished {
		return
	}
	switch f.kind {
	case wishResign:
		p.tell(fact{kind: factResignAsked, err: ErrResigned})
	case wishLeave:
		p.leave()
	case wishBreak:
		p.loop.leaveSoon()
	case wishProclaim:
		p.ask(factProclaimAsked, []byte{'w', byte(f.n)})
	case wishConfirm:
		for range 1 + f.n&1 {
			p.ask(factConfirmAsked, nil)
		}
	case wishWatch:
		p.watch()
	case faultRefused:
		p.client.refused = p.w.now + f.dur
	case faultCloseBackend:
		p.client.close()
	}
}

// leave ends the campaign's context: the term's context ends with it, before the machine hears of it.
func (p *process) leave() {
	if p.dead || p.finished {
		return
	}
	p.cancel(errSimLeft)
	p.loop.told()
	p.h.after(p.w.upTo(time.Millisecond), func() { p.tell(fact{kind: factStopAsked, err: errSimLeft}) })
}

var errSimLeft = errors.New("sim: the caller leaves")

// watch adds a listener or removes one, as Election.Watch does.
func (p *process) watch() {
	if len(p.others) < 2 && p.w.chance(2) {
		p.others = append(p.others, &eye{p: p, sub: p.hub.subscribe()})
	} else if len(p.others) > 0 {
		p.hub.unsubscribe(p.others[0].sub)
		p.others = p.others[1:]
	}
	p.attention()
}

func (p *process) attention() {
	select {
	case <-p.d.attention:
		p.tell(fact{kind: factListeners, n: p.hub.listeners()})
	default:
	}
}
