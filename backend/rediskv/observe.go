package rediskv

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
	"github.com/hustings-go/hustings/backend/internal/errand"
)

// Observe yields who leads key, and every change. See [backend.Backend] for the contract; what is Redis's own:
// it listens to the key's channel and reads the record when something was told, and when its lease
// would have ended, which Redis itself tells nobody. It needs the right to read and to subscribe. Of changes that come
// faster than the loop takes them, it yields the last. It may be ranged over again, and by many at once. A token lower
// than one that it has seen ends it with an [ErrDataLost].
func (b *Backend) Observe(ctx context.Context, key string) iter.Seq2[backend.Leader, error] {
	return calls.Observe(ctx, func(tell func(backend.Leader, error)) (stop func()) { return b.TellLeaders(ctx, key, tell) })
}

// TellLeaders tells what Observe yields; see [backend.LeaderTeller]. It has a goroutine only while the record is read.
func (b *Backend) TellLeaders(ctx context.Context, key string, tell func(backend.Leader, error)) (stop func()) {
	if err := backend.ValidateKey(key); err != nil {
		return errand.Once(func() { tell(backend.Leader{}, err) })
	}
	o := &observer{b: b, key: key, told: func(l backend.Leader) { tell(l, nil) }, outlook: outlook{b: b}}
	return b.keepVigil(ctx, key, o.hear, o.look, func(err error) { tell(backend.Leader{}, b.wrap("observe", key, err)) })
}

// observer is one observation under way. Its vigil takes its turns, one at a time.
type observer struct {
	b    *Backend
	key  string
	told func(backend.Leader)

	began  bool
	leader backend.Leader // as told last
	newest uint64         // the highest token told

	outlook outlook
}

// hear takes an event. b.mu is held.
func (o *observer) hear(v *vigil, ev event) {
	switch {
	case ev.kind != renewed:
		v.call()
	case o.outlook.about(ev):
		v.dueIn(o.outlook.told(ev))
	}
}

// look tells who leads, unless that was said already, and has the next look made when that lease would have ended.
func (o *observer) look(ctx context.Context, v *vigil) error {
	values, left, err := o.b.read(ctx, o.key)
	if err != nil {
		return err
	}
	r, err := parse(values, left)
	if err != nil {
		return err
	}
	if err := o.b.remember(o.key, r.token, r.ttl); err != nil {
		return err
	}
	if r.token != 0 && r.token < o.newest {
		return fmt.Errorf("%w: token %d came after %d", ErrDataLost, r.token, o.newest)
	}
	o.b.mu.Lock()
	v.dueIn(o.outlook.seen(r))
	o.b.mu.Unlock()
	l := r.leader()
	if o.began && l.Token == o.leader.Token && bytes.Equal(l.Value, o.leader.Value) {
		return nil
	}
	o.began, o.leader, o.newest = true, l, max(o.newest, l.Token)
	o.told(backend.Leader{Value: bytes.Clone(l.Value), Token: l.Token})
	return nil
}
