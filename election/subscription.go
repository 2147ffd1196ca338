package election

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// How events reach their listeners. Publishing appends to a short queue per listener and never waits
// for anybody. A channel would have to drop the newest, or block the election, when its reader sleeps;
// the queue instead keeps at most one event per state, the latest, at the place of the latest.

// hub hands records to subscriptions.
type hub struct {
	mu   sync.Mutex
	last record
	subs []*subscription
	// attention is told, without waiting, that the number of listeners has changed.
	attention chan struct{}
}

// subscription is one listener's queue. What stands above the line belongs to the hub's mutex.
type subscription struct {
	hub    *hub
	queue  []record
	wake   chan struct{} // of capacity 1: there is something to look at
	silent bool          // does not count as a listener: needs no observation
	works  bool          // a term that it takes is its work: it is the campaign's own loop
	closed bool          // nothing will follow
	seen   *Term         // the term that it saw begin and was not told the end of
	over   bool          // that term was told to stop
	cause  error         // and why

	// The listener's goroutine alone uses these.
	held   *Term // the term that it works for
	told   bool  // it was told the end of that term
	before State
	cancel context.CancelCauseFunc // of the event taken last, where it has a context of its own
}

// subscribe adds a listener, whose first event is the current one.
func (h *hub) subscribe() *subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.prime()
	s := h.add()
	s.push(h.last)
	h.tell()
	return s
}

// campaign adds the loop that stands for election, whose first event is that campaign's first. attention
// is told from now on when listeners come and go.
func (h *hub) campaign(attention chan struct{}, silent bool) *subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.attention = attention
	s := h.add()
	s.works, s.silent = true, silent
	return s
}

func (h *hub) add() *subscription {
	s := &subscription{hub: h, wake: make(chan struct{}, 1)}
	h.subs = append(h.subs, s)
	return s
}

// rest ends what the campaign's last event left: its context.
func (h *hub) rest() {
	h.mu.Lock()
	cancel := h.last.cancel
	h.attention, h.last.cancel = nil, nil
	h.mu.Unlock()
	if cancel != nil {
		cancel(ErrResigned)
	}
}

func (h *hub) current() record {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.prime()
	return h.last
}

// prime gives an election for which nothing was asked yet its idle event.
func (h *hub) prime() {
	if h.last.ctx == nil {
		//nolint:forbidigo // nobody's context outdates it, only the first event that is published
		h.last.ctx, h.last.cancel = context.WithCancelCause(context.Background())
	}
}

func (h *hub) unsubscribe(s *subscription) {
	h.mu.Lock()
	h.subs = slices.DeleteFunc(h.subs, func(o *subscription) bool { return o == s })
	h.tell()
	h.mu.Unlock()
	if s.cancel != nil {
		s.cancel(ErrSuperseded)
	}
	s.letGo()
}

// tell wakes the driver, if there is one, to look at the number of listeners.
func (h *hub) tell() {
	if h.attention != nil {
		select {
		case h.attention <- struct{}{}:
		default:
		}
	}
}

// listeners counts those who want to know who leads.
func (h *hub) listeners() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, s := range h.subs {
		if !s.silent {
			n++
		}
	}
	return n
}

// publish makes r the current event and queues it for every listener. The context of the event before
// it ends.
func (h *hub) publish(r record) {
	h.mu.Lock()
	outdated := h.last.cancel
	h.last = r
	for _, s := range h.subs {
		s.push(r)
	}
	h.mu.Unlock()
	if outdated != nil {
		outdated(ErrSuperseded)
	}
}

// amend replaces the value of the term that is announced last, for those who have not seen it yet.
func (h *hub) amend(t *Term, value []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last.term == t {
		h.last.leader.Value = value
	}
	for _, s := range h.subs {
		for i := range s.queue {
			if s.queue[i].term == t {
				s.queue[i].leader.Value = value
			}
		}
	}
}

// push queues r in the place of an unread record of the same state, at the tail.
func (s *subscription) push(r record) {
	if s.closed {
		return
	}
	for i, old := range s.queue {
		if old.state == r.state {
			s.queue = slices.Delete(s.queue, i, i+1)
			break
		}
	}
	s.queue = append(s.queue, r)
	if r.ends != nil && r.ends == s.seen {
		s.over, s.cause = true, r.err
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// close says that nothing will follow what is queued.
func (s *subscription) close() {
	s.hub.mu.Lock()
	s.closed = true
	s.hub.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take waits for the next record worth seeing, and returns with it the state that this listener saw
// before. It reports false when nothing follows, or ctx ended.
func (s *subscription) take(ctx context.Context) (r record, previous State, ok bool) {
	if s.told {
		s.letGo() // it asks for the next event after the one that ended its term: its work is done
	}
	for {
		r, ok, closed := s.pop()
		switch {
		case ok:
			previous, s.before = s.before, r.state
			return r, previous, true
		case closed:
			return record{}, 0, false
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return record{}, 0, false
		}
	}
}

// pop takes the next record worth seeing off the queue, if there is one.
func (s *subscription) pop() (r record, ok, closed bool) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	for len(s.queue) > 0 {
		r := s.queue[0]
		if s.queue = slices.Delete(s.queue, 0, 1); len(s.queue) == 0 {
			s.queue = nil // what it held is not needed, and the next event may be hours away
		}
		if r.spent() || s.works && r.term != nil && !r.term.work.begin() {
			continue
		}
		if s.seen != nil && s.over {
			// Whoever saw a term begin is told how it ended, whatever came later.
			if !errors.Is(r.err, s.cause) {
				r.err = errors.Join(s.cause, r.err)
			}
			s.seen, s.over, s.cause = nil, false, nil
			s.told = s.held != nil
		}
		if r.term != nil {
			s.seen = r.term
			if s.works {
				s.held = r.term
			}
		}
		return r, true, false
	}
	return record{}, false, s.closed
}

// letGo ends the work for the term that this listener holds.
func (s *subscription) letGo() {
	if s.held != nil {
		t := s.held
		s.held, s.told = nil, false
		t.work.end()
	}
}

// context gives a listener's event a context that ends with the listener's own, and when the record's
// does.
func (s *subscription) context(ctx context.Context, r record) context.Context {
	if s.cancel != nil {
		s.cancel(ErrSuperseded)
		s.cancel = nil
	}
	if r.term != nil {
		ctx = context.WithValue(ctx, termKey{}, r.term)
	}
	own, cancel := context.WithCancelCause(ctx)
	if r.ctx.Err() != nil {
		cancel(context.Cause(r.ctx))
	}
	stop := context.AfterFunc(r.ctx, func() { cancel(context.Cause(r.ctx)) })
	s.cancel = func(err error) {
		stop()
		cancel(err)
	}
	return own
}
