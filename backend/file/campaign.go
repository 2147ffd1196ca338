package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
	"github.com/hustings-go/hustings/retry"
)

// maxTries bounds how often a look starts over because files were replaced under it. Each time somebody
// else has got on.
const maxTries = 100

// errReplaced says that it was started over maxTries times.
var errReplaced = errors.New("the files of the key are replaced faster than they can be read")

// Campaign stands for key with value announced, and blocks until it is won or fails. See
// [backend.Backend] for the contract; what is the file's own:
//
// Waiting leaves nothing in the folder. Whoever locks the key first after it was freed has it: there is no
// order. A look once per TTL is there in case that a notice was lost. Winning is durable before it is
// announced, which takes the disk two flushes. File operations cannot be broken off: on a disk that hangs,
// so does Campaign.
//
// Errors: ErrBusy, ErrClosed; permanent ones for a bad key, a value of more than MaxValueLen bytes, and
// where something else stands in the place of our files; an ErrDenied where a right is missing or the file
// system is read-only. Everything else passes, a full disk included. After every error the key is
// free, as far as this Backend goes. Campaign is safe for concurrent use and does not keep value.
func (b *Backend) Campaign(ctx context.Context, key string, value []byte) (backend.Lease, error) {
	if err := backend.ValidateKey(key); err != nil {
		return nil, err
	}
	l, err := b.stand(ctx, key, value)
	if err != nil {
		return nil, b.wrap("campaign", key, err)
	}
	return l, nil
}

// stand is Campaign without the names in its errors.
func (b *Backend) stand(ctx context.Context, key string, value []byte) (*Lease, error) {
	if err := validateValue(value); err != nil {
		return nil, err
	}
	ctx, leave, err := b.calls.Enter(ctx, true)
	if err != nil {
		return nil, err
	}
	defer leave()
	if ctx.Err() != nil {
		return nil, calls.Ended(ctx)
	}
	c, err := b.reserve(key)
	if err != nil {
		return nil, err
	}
	w := &waiter{b: b, c: c, value: value}
	if err := b.follow(ctx, key, w.look); err != nil {
		w.close()
		b.vacate(c)
		return nil, err
	}
	return w.won, nil
}

// waiter is a candidacy until it wins. It keeps the lock file open between looks, because to close it would
// wake all others.
type waiter struct {
	b     *Backend
	c     *candidacy
	value []byte
	f     *os.File // nil: not open
	info  fs.FileInfo
	won   *Lease
}

func (w *waiter) close() {
	if w.f != nil {
		// Locks that it may have go with it, also where unlocking failed.
		_ = unlock(w.f)
		_ = w.f.Close()
		w.f = nil
	}
}

// look tries to lock the key, and begins the term if it can.
func (w *waiter) look(ctx context.Context) (done bool, _ error) {
	b, key := w.b, w.c.key
	for range maxTries {
		if w.f == nil {
			err := b.dir.mkdir(key)
			if err == nil {
				w.f, w.info, err = b.dir.open(key)
			}
			if err != nil {
				return false, err
			}
		}
		sent := backend.Now()
		locked, err := tryLock(w.f)
		if err != nil {
			return false, err
		}
		// A lock on a file that the path does not name any more excludes nobody.
		current, err := same(b.dir.lock(key), w.info)
		switch {
		case err != nil:
			return false, err
		case !current:
			w.close()
		case !locked:
			return false, nil
		case ctx.Err() != nil:
			return false, calls.Ended(ctx)
		default:
			return true, w.begin(sent)
		}
	}
	return false, errReplaced
}

// begin begins the term of a candidate that has locked the key.
func (w *waiter) begin(sent backend.Instant) error {
	b, key := w.b, w.c.key
	newest, err := b.dir.newest(key)
	if err != nil {
		return err
	}
	if err := w.ours(newest); err != nil {
		return err
	}
	token, err := next(newest, b.clock().UnixMicro())
	if err != nil {
		return err
	}
	// Before the record, so that nobody can see a record whose term is not held, and yet is going to be.
	if marked, err := mark(w.f, token); err != nil || !marked {
		return errors.Join(err, fmt.Errorf("the term %d could not be marked as held", token))
	}
	rec := record{
		header: header{Format: format, Key: key, Token: token, State: stateLeading, Name: b.name, PID: os.Getpid(), Session: b.session, Since: b.clock().UTC()},
		value:  bytes.Clone(w.value),
	}
	data, err := rec.encode()
	if err != nil {
		return err
	}
	if err := b.dir.create(key, token, data); err != nil {
		return err
	}
	l := &Lease{
		b: b, c: w.c, token: token, won: backend.Grant{Sent: sent, TTL: b.ttl},
		lock: w.f, lockInfo: w.info, rec: rec, data: data,
	}
	if err := l.prove(); err != nil {
		return fmt.Errorf("the record of the term just won: %w", err)
	}
	b.dir.tidy(key, token)
	w.won, w.f = l, nil // the lock is the term's from here on
	l.begin()
	return nil
}

// ours refuses a folder that another key uses, as can happen where file names do not tell upper from lower
// case. What cannot be read is left to the names of files.
func (w *waiter) ours(newest uint64) error {
	if newest == 0 {
		return nil
	}
	last, _, _, err := w.b.dir.read(w.c.key, newest)
	if err == nil && last.Key != w.c.key {
		return retry.Permanent(fmt.Errorf("%s is in use by the key %q", w.b.dir.of(w.c.key), last.Key))
	}
	return nil
}

// begin publishes the lease inside the Backend, and has it end when nobody renews it.
func (l *Lease) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count()
	l.b.notifier.use()
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.c.lease = l
}
