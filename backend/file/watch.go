package file

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hustings-go/hustings/backend/internal/calls"
)

// What happened in a key's folder, as far as it matters.
const (
	lockTouched uint32 = 1 << iota // closed after writing was possible, made, moved or deleted
	termTouched                    // a record appeared, changed or went
	stale                          // the subscription tells no more, or something else should be watched now
)

// touched says what an event of a name in a key's folder is about.
func touched(name string) uint32 {
	switch {
	case name == lockName:
		return lockTouched
	case strings.HasPrefix(name, termPrefix):
		return termTouched
	default:
		return 0
	}
}

// subscription tells one waiting call of changes. They are hints.
type subscription struct {
	about func(name string) uint32 // what an event of a name means to it; 0: nothing
	woken chan struct{}            // nil where the system does not tell, and the caller must look
	what  atomic.Uint32
}

func (s *subscription) tell(what uint32) {
	if what == 0 || s.woken == nil {
		return
	}
	s.what.Or(what)
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

const (
	// The kernel tells that a file is being closed just before it takes back the locks (__fput). A look that
	// was too quick is therefore repeated, after firstLook, twice that, and so on, up to lastLook, or until a
	// new term is told.
	firstLook = time.Millisecond
	lastLook  = 512 * time.Millisecond

	// pollEvery is how often a call looks where the system does not tell.
	pollEvery = 200 * time.Millisecond
)

// vigil is the waiting of one call.
type vigil struct {
	b     *Backend
	sub   *subscription
	stop  func()
	again time.Duration // until the next look that does not wait to be told; 0: none
	timer *time.Timer
}

// watch begins to wait for changes of key. Without a folder of the key, it is the folder's appearance that is
// waited for.
func (b *Backend) watch(key string) (*vigil, error) {
	sub, stop, err := b.notifier.subscribe(b.dir.of(key), touched)
	if errors.Is(err, fs.ErrNotExist) {
		sub, stop, err = b.notifier.subscribe(b.dir.path, appears(b.dir.name(key)))
		if err == nil {
			if _, lerr := os.Lstat(b.dir.of(key)); lerr == nil {
				sub.tell(stale) // it came in between
			}
		}
	}
	if err != nil {
		return nil, err
	}
	v := &vigil{b: b, sub: sub, stop: stop, timer: time.NewTimer(b.ttl)}
	v.timer.Stop()
	return v, nil
}

// appears is what events in the Backend's folder mean to who waits for the folder of one key.
func appears(own string) func(string) uint32 {
	return func(name string) uint32 {
		if name == own {
			return stale
		}
		return 0
	}
}

func (v *vigil) end() {
	v.timer.Stop()
	v.stop()
}

// next waits until it is worth to look again: for an event, or for the TTL to pass, or because of what again
// says. It reports whether the vigil can go on.
func (v *vigil) next(ctx context.Context) (ok bool, _ error) {
	wait := v.b.ttl
	if v.sub.woken == nil {
		wait = min(wait, pollEvery)
	}
	if v.again > 0 {
		wait = min(wait, v.again)
		if v.again *= 2; v.again > lastLook {
			v.again = 0
		}
	}
	v.timer.Reset(wait)
	select {
	case <-v.sub.woken:
		switch what := v.sub.what.Swap(0); {
		case what&stale != 0:
			return false, nil
		case what&lockTouched != 0:
			v.again = firstLook
		case what&termTouched != 0:
			v.again = 0
		}
		return true, nil
	case <-v.timer.C:
		return true, nil
	case <-ctx.Done():
		return false, calls.Ended(ctx)
	}
}

// follow calls look until it reports that it is done, at the beginning and whenever something of key may
// have changed: between two looks nothing is missed.
func (b *Backend) follow(ctx context.Context, key string, look func(ctx context.Context) (done bool, err error)) error {
	var v *vigil
	defer func() {
		if v != nil {
			v.end()
		}
	}()
	for {
		if b.looked != nil {
			b.looked()
		}
		if done, err := look(ctx); done || err != nil {
			return err
		}
		if ctx.Err() != nil {
			return calls.Ended(ctx)
		}
		if v == nil {
			var err error
			if v, err = b.watch(key); err != nil {
				return err
			}
			continue // what changed before is not told
		}
		ok, err := v.next(ctx)
		if err != nil {
			return err
		}
		if !ok {
			v.end()
			v = nil
		}
	}
}
