package consul

import (
	"context"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend/internal/calls"
)

// turn is what one who leads or observes does when there is news of the key: first with nothing known, which is nil, and
// whenever that may have changed. It returns the entry if it has read it itself, or why it ends.
type turn func(ctx context.Context, now *api.KVPair) (read *api.KVPair, _ error)

// vigil is one whose turns are called for by a listener.
type vigil struct {
	*calls.Vigil
	b        *Backend
	turn     turn
	listener *listener
}

// keepVigil has turns taken until stop, until a turn fails, or until Close.
func (b *Backend) keepVigil(ctx context.Context, key string, t turn, end func(error)) (stop func()) {
	v := &vigil{b: b, turn: t}
	v.Vigil = b.calls.Vigil(ctx, v.take, func() { b.leave(v.listener) }, end)
	v.listener = b.listen(key, nil, v.Call)
	return v.Begin()
}

func (v *vigil) take(ctx context.Context) error {
	now, known, _, err := v.b.take(v.listener)
	if err != nil {
		return err
	}
	var entry *api.KVPair
	if known {
		entry = &now.kv
	}
	read, err := v.turn(ctx, entry)
	if err != nil {
		return err
	}
	if read != nil {
		v.b.found(v.listener, view{kv: *read})
	}
	v.b.want(v.listener)
	return nil
}
