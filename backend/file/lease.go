package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
)

// Lease is one term of one key: a lock that the kernel keeps for this process. See [backend.Lease] for the
// contract.
type Lease struct {
	b     *Backend
	c     *candidacy
	token uint64
	won   backend.Grant

	mu       sync.Mutex // guards what follows; held while its files are touched
	gone     bool       // given up, or lost
	lock     *os.File
	lockInfo fs.FileInfo
	rec      record
	data     []byte      // rec as it stands in the file
	dataInfo fs.FileInfo // as it was when it was compared last, or nil
	ticks    int         // without a renewal
	round    int         // of ticks; each renewal begins another one
	timer    *time.Timer
}

// lapseTicks is in how many steps the TTL of a term that nobody renews runs out. Only while this process runs are they
// taken: neither a clock that is set nor a pause ends a term here. The kernel keeps the lock through both, and to free it at
// once after a pause would hand the key on under work that has just woken up and not heard of it. The election goes by all
// clocks, tells the work to stop, and gives the key up when it has.
const lapseTicks = 8

// Token returns the token of the term: the wall time at which it was won, in microseconds since 1970, or one
// more than that of the term before, whichever is greater. It does not block.
func (l *Lease) Token() uint64 { return l.token }

// Grant returns the promise that stood when the key was won. It does not block.
func (l *Lease) Grant() backend.Grant { return l.won }

// Renew proves that the lock is still on the file that others would lock, and that the term's record is as
// this term wrote it, and puts off by a TTL, in which this process runs, the moment when the term is given up
// for want of renewals. It asks the file system three or four questions and writes nothing.
func (l *Lease) Renew(ctx context.Context) (backend.Grant, error) {
	grant, err := l.renew(ctx)
	if err != nil {
		return backend.Grant{}, l.b.wrap("renew", l.c.key, err)
	}
	return grant, nil
}

func (l *Lease) renew(ctx context.Context) (backend.Grant, error) {
	if ctx.Err() != nil {
		return backend.Grant{}, ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	sent := backend.Now()
	if err := l.check(); err != nil {
		return backend.Grant{}, err
	}
	l.ticks = 0
	l.timer.Stop()
	l.count()
	return backend.Grant{Sent: sent, TTL: l.b.ttl}, nil
}

// check answers ErrLost for a term that is over, and gives up one that it finds lost. l.mu must be held.
func (l *Lease) check() error {
	if l.gone {
		return backend.ErrLost
	}
	err := l.prove()
	if errors.Is(err, backend.ErrLost) {
		l.give()
	}
	return err
}

// prove returns nil if the term stands in the folder as it should, ErrLost if it does not, and another error
// if that could not be found out. l.mu must be held, or l not yet known to others.
func (l *Lease) prove() error {
	dir, key := l.b.dir, l.c.key
	current, err := same(dir.lock(key), l.lockInfo)
	switch {
	case err != nil:
		return err
	case !current:
		return fmt.Errorf("the lock file was removed or replaced: %w", backend.ErrLost)
	}
	info, err := os.Lstat(dir.term(key, l.token))
	if err == nil && l.dataInfo != nil && os.SameFile(info, l.dataInfo) && info.Size() == l.dataInfo.Size() && info.ModTime().Equal(l.dataInfo.ModTime()) {
		return nil
	}
	var data []byte
	if err == nil {
		_, data, info, err = dir.read(key, l.token)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the record was removed: %w", backend.ErrLost)
	case errors.Is(err, errDamaged):
		return fmt.Errorf("the record was overwritten: %w", backend.ErrLost)
	case err != nil:
		return err
	case !bytes.Equal(data, l.data):
		return fmt.Errorf("the record was edited: %w", backend.ErrLost)
	}
	l.dataInfo = info
	return nil
}

// Wait listens for changes in the key's folder, and proves the term after each of them and once per TTL. It
// tells when the lock file or the record was removed, replaced or edited.
func (l *Lease) Wait(ctx context.Context) error {
	return l.b.wrap("wait", l.c.key, l.wait(ctx))
}

func (l *Lease) wait(ctx context.Context) error {
	ctx, leave, err := l.b.calls.Enter(ctx, false)
	if err != nil {
		return err
	}
	defer leave()
	return l.b.follow(ctx, l.c.key, func(ctx context.Context) (done bool, _ error) {
		if ctx.Err() != nil {
			return false, calls.Ended(ctx)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		return false, l.check()
	})
}

// Proclaim puts another record of the same term in the place of the old one, at one stroke. A term that has
// lost its key cannot touch a successor's record by it, whose file has another name. The new value is not
// flushed to the disk: nobody leads any more when a power cut could have lost it. Values of more than
// MaxValueLen bytes are refused with a permanent error. It does not keep value.
func (l *Lease) Proclaim(ctx context.Context, value []byte) error {
	if err := l.proclaim(ctx, value); err != nil {
		return l.b.wrap("proclaim", l.c.key, err)
	}
	return nil
}

func (l *Lease) proclaim(ctx context.Context, value []byte) error {
	if err := validateValue(value); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.check(); err != nil {
		return err
	}
	rec := l.rec
	rec.value = bytes.Clone(value)
	if err := l.write(rec); err != nil {
		if lost := l.prove(); errors.Is(lost, backend.ErrLost) {
			l.give()
			return lost
		}
		return err
	}
	return l.check()
}

// write puts rec in the place of the term's record. l.mu must be held.
func (l *Lease) write(rec record) error {
	data, err := rec.encode()
	if err != nil {
		return err
	}
	if err := l.b.dir.replace(l.c.key, l.token, data); err != nil {
		return err
	}
	l.rec, l.data, l.dataInfo = rec, data, nil
	return nil
}

// Resign gives the key up: it says so in the record, leaving the value out, and unlocks. The lock file and
// the record with the token stay in the folder. The key is free when Resign returns, whatever it returns; the
// error is only ever that of a context that had ended before.
func (l *Lease) Resign(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return nil
	}
	l.resign()
	if ctx.Err() != nil {
		return l.b.wrap("resign", l.c.key, ctx.Err())
	}
	return nil
}

// resign marks the record, if it is still this term's own, and gives the key up. l.mu must be held.
func (l *Lease) resign() {
	if l.prove() == nil {
		rec := l.rec
		rec.State, rec.value = stateResigned, nil
		// The record is for people; what counts is the lock. So a full disk is in nobody's way.
		_ = l.write(rec)
	}
	l.give()
}

// give gives the key up. l.mu must be held.
func (l *Lease) give() {
	if l.gone {
		return
	}
	l.gone = true
	l.timer.Stop()
	_ = unlock(l.lock) // or else closing does it
	_ = l.lock.Close()
	l.b.vacate(l.c)
	l.b.notifier.leave()
}

// step is the time between two ticks.
func (l *Lease) step() time.Duration { return l.b.ttl / lapseTicks }

// count begins a round of ticks. l.mu must be held.
func (l *Lease) count() {
	l.round++
	round := l.round
	l.timer = time.AfterFunc(l.step(), func() { l.tick(round) })
}

// tick is what the timer does: it gives up a term that nobody has renewed for a TTL. One of an earlier round was due when a renewal was
// under way, and would end the term before what that promised.
func (l *Lease) tick(round int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone || round != l.round {
		return
	}
	if l.ticks++; l.ticks >= lapseTicks {
		l.resign()
		return
	}
	l.timer.Reset(l.step())
}
