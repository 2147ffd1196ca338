package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
)

// Observe yields who leads key, and every change. See [backend.Backend] for the contract; what is the file's
// own: it reads the newest record and asks the kernel whether its term is held, without taking any lock, when
// something in the key's folder has changed, and once per TTL otherwise. It needs the right to read, makes
// nothing, and may begin before anybody has ever stood for key. A record that was damaged counts as
// nobody's. It may be ranged over again, and by many at once.
func (b *Backend) Observe(ctx context.Context, key string) iter.Seq2[backend.Leader, error] {
	return func(yield func(backend.Leader, error) bool) {
		if err := backend.ValidateKey(key); err != nil {
			yield(backend.Leader{}, err)
			return
		}
		observing, leave, err := b.calls.Enter(ctx, false)
		if err == nil {
			defer leave()
			o := &observer{b: b, key: key, yield: yield}
			err = b.follow(observing, key, o.look)
		}
		if !errors.Is(err, errLeft) && ctx.Err() == nil {
			yield(backend.Leader{}, b.wrap("observe", key, err))
		}
	}
}

// errLeft says that the caller left the loop.
var errLeft = errors.New("the caller left the loop")

// observer is one Observe under way.
type observer struct {
	b     *Backend
	key   string
	yield func(backend.Leader, error) bool

	began  bool
	last   backend.Leader // as told
	newest uint64         // the highest token told
}

// look tells who leads, unless that was said already.
func (o *observer) look(ctx context.Context) (done bool, _ error) {
	if ctx.Err() != nil {
		return false, calls.Ended(ctx)
	}
	leader, err := o.b.leader(o.key)
	switch {
	case err != nil:
		return false, err
	case o.began && leader.Token == o.last.Token && bytes.Equal(leader.Value, o.last.Value):
		return false, nil
	case !leader.Vacant() && leader.Token < o.newest:
		return false, fmt.Errorf("the folder went back in time: token %d came after %d", leader.Token, o.newest)
	}
	o.began, o.last, o.newest = true, leader, max(o.newest, leader.Token)
	leader.Value = bytes.Clone(leader.Value)
	if !o.yield(leader, nil) {
		return false, errLeft
	}
	return false, nil
}

// leader reads who leads key.
func (b *Backend) leader(key string) (backend.Leader, error) {
	for range maxTries {
		token, err := b.dir.newest(key)
		if err != nil || token == 0 {
			return backend.Leader{}, err
		}
		rec, _, _, err := b.dir.read(key, token)
		switch {
		case errors.Is(err, fs.ErrNotExist): // a newer one came
			continue
		case errors.Is(err, errDamaged):
			return backend.Leader{}, nil
		case err != nil:
			return backend.Leader{}, err
		case rec.State != stateLeading:
			return backend.Leader{}, nil
		}
		f, _, err := b.dir.openToRead(b.dir.lock(key))
		if errors.Is(err, fs.ErrNotExist) {
			return backend.Leader{}, nil
		}
		if err != nil {
			return backend.Leader{}, err
		}
		holds, err := held(f, token)
		_ = f.Close()
		if err != nil || !holds {
			return backend.Leader{}, err
		}
		return backend.Leader{Value: rec.value, Token: token}, nil
	}
	return backend.Leader{}, errReplaced
}
