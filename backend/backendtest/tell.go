package backendtest

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// tellingPrefix begins the names of the cases that are run a second time, on what the backend tells by itself.
const tellingPrefix = "told by itself: "

// told makes a case of its twin that asks: the sessions that it opens answer Observe and Wait with what they tell.
func told(c testCase) testCase {
	run := c.run
	c.name = tellingPrefix + c.name
	c.needs = append([]ability{tells}, c.needs...)
	c.run = func(k *kit) {
		k.told = true
		run(k)
	}
	return c
}

// asked is a session whose Observe waits for what TellLeaders tells, and whose leases' Wait for what TellLoss tells.
type asked struct {
	backend.LeaderTeller
	k *kit
}

func (a asked) Campaign(ctx context.Context, key string, value []byte) (backend.Lease, error) {
	l, err := a.LeaderTeller.Campaign(ctx, key, value)
	if err != nil {
		return nil, err
	}
	teller, ok := l.(backend.LossTeller)
	if !ok {
		a.k.Errorf("the harness declares that the store tells, and a lease, a %T, is no backend.LossTeller", l)
		return l, nil
	}
	return askedLease{teller, a.k}, nil
}

func (a asked) Observe(ctx context.Context, key string) iter.Seq2[backend.Leader, error] {
	return func(yield func(backend.Leader, error) bool) {
		type news struct {
			leader backend.Leader
			err    error
		}
		m := newMailbox[news](a.k)
		stop := a.TellLeaders(ctx, key, func(l backend.Leader, err error) { m.put(news{l, err}) })
		defer m.close(stop)
		for {
			n, ok := m.take(ctx)
			if !ok || !yield(n.leader, n.err) || n.err != nil {
				return
			}
		}
	}
}

type askedLease struct {
	backend.LossTeller
	k *kit
}

func (l askedLease) Wait(ctx context.Context) error {
	m := newMailbox[error](l.k)
	stop := l.TellLoss(ctx, m.put)
	defer m.close(stop)
	err, ok := m.take(ctx)
	if !ok {
		return ctx.Err()
	}
	if err == nil {
		l.k.Error("told of a loss with a nil error")
	}
	return err
}

// mailbox keeps what is told until it is taken, and checks that it is told as it should be.
type mailbox[T any] struct {
	k    *kit
	wake chan struct{}

	mu     sync.Mutex
	all    []T
	closed bool
}

func newMailbox[T any](k *kit) *mailbox[T] { return &mailbox[T]{k: k, wake: make(chan struct{}, 1)} }

func (m *mailbox[T]) put(v T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		m.k.Errorf("told %v after it was stopped", v)
		return
	}
	m.all = append(m.all, v)
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// take returns what was told first and not taken yet, or false when ctx has ended.
func (m *mailbox[T]) take(ctx context.Context) (v T, ok bool) {
	for ctx.Err() == nil {
		m.mu.Lock()
		if len(m.all) > 0 {
			v, m.all = m.all[0], m.all[1:]
			m.mu.Unlock()
			return v, true
		}
		m.mu.Unlock()
		select {
		case <-m.wake:
		case <-ctx.Done():
		}
	}
	return v, false
}

// close stops the telling, twice, which must not take long.
func (m *mailbox[T]) close(stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		stop()
		m.mu.Lock()
		m.closed = true
		m.mu.Unlock()
		stop()
	}()
	timer := time.NewTimer(m.k.prompt())
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		m.k.Errorf("what is told could not be stopped within %v", m.k.prompt())
	}
}

// tellStop stops a telling just when there is something to tell, again and again.
func tellStop(k *kit) {
	b := k.open()
	for i := range 20 {
		o := k.observe(b, k.key)
		o.untilVacant()
		l := k.win(b, k.key, "alice")
		waits := k.waiting(l)
		if i%2 == 0 {
			k.settle()
		}
		resigned := begin(k, "Resign", func(ctx context.Context) (struct{}, error) { return struct{}{}, l.Resign(ctx) })
		o.cancel()
		waits.cancel()
		o.mustEnd()
		_, _ = waits.wait()
		resigned.must()
	}
	k.wantVacant(b, k.key)
}
