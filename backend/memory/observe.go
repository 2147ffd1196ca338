package memory

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// Observe follows key as [backend.Backend] describes. While the session is cut nothing is yielded;
// after Heal it goes on with the leader of that time. It may be ranged over again, which starts anew.
func (b *Backend) Observe(ctx context.Context, key string) iter.Seq2[backend.Leader, error] {
	return func(yield func(backend.Leader, error) bool) {
		err := b.observe(ctx, key, func(l backend.Leader) bool { return yield(l, nil) })
		if err != nil && ctx.Err() == nil {
			yield(backend.Leader{}, fmt.Errorf("memory: observe %w", keyed(key, err)))
		}
	}
}

// observe returns nil when yield asks it to stop.
func (b *Backend) observe(ctx context.Context, key string, yield func(backend.Leader) bool) error {
	if err := backend.ValidateKey(key); err != nil {
		return err
	}
	s := b.store
	watching := false
	defer func() {
		if watching {
			s.unwatch(key)
		}
	}()
	err := b.call(ctx, b.closed, func(time.Time) {
		s.at(key).watchers++
		watching = true
	})
	if err != nil {
		return err
	}
	last, changed := s.leader(key)
	if !yield(handOut(last)) {
		return nil
	}
	for {
		if err := until(ctx, b.closed, changed); err != nil {
			return err
		}
		if err := b.hear(ctx); err != nil {
			return err
		}
		var now backend.Leader
		now, changed = s.leader(key)
		if now.Token == last.Token && bytes.Equal(now.Value, last.Value) {
			continue
		}
		last = now
		if !yield(handOut(last)) {
			return nil
		}
	}
}

// handOut gives the caller a Value of its own.
func handOut(l backend.Leader) backend.Leader {
	l.Value = bytes.Clone(l.Value)
	return l
}

// leader returns who holds key, which is being watched, and what is closed at the next change. The value
// belongs to the store.
func (s *store) leader(key string) (backend.Leader, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.keys[key]
	s.settle(e, time.Now())
	if e.holder == nil {
		return backend.Leader{}, e.changed
	}
	return backend.Leader{Value: e.holder.value, Token: e.holder.token}, e.changed
}

func (s *store) unwatch(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[key].watchers--
	s.tidy(key)
}
