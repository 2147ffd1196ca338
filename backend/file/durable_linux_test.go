package file_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hustings-go/hustings/backend"
)

// A win is on the disk before it is announced: the record, its name, and the folder that it is in. A power cut
// must not take back a token that somebody has seen.
func TestWinIsDurable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir)
	key := filepath.Join(dir, "key")
	for round, want := range []func(record string) []string{
		func(record string) []string { return []string{dir, record, key} },
		func(record string) []string { return []string{record, key} },
	} {
		var flushed []string
		var l backend.Lease
		var err error
		supervise(t, []uint32{unix.SYS_FSYNC}, func(r request) unix.Errno {
			flushed = append(flushed, r.path())
			return 0
		}, func() { l, err = b.Campaign(within(t), "key", []byte("x")) })
		must(t, err)
		if want := want(recordPath(t, dir, "key")); !slices.Equal(flushed, want) {
			t.Errorf("term %d: flushed were %q, want %q", round+1, flushed, want)
		}
		resign(t, l)
	}
}

// What the disk did not take is no win, and the key is free.
func TestNoWinWithoutTheDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir)
	first := win(t, b, "key", "x")
	resign(t, first)
	last := first.Token()
	for broken := range 2 { // the record's flush, and its folder's
		flushes := 0
		var err error
		supervise(t, []uint32{unix.SYS_FSYNC}, func(request) unix.Errno {
			flushes++
			if flushes == broken+1 {
				return unix.EIO
			}
			return 0
		}, func() { _, err = b.Campaign(within(t), "key", []byte("x")) })
		mustPass(t, "Campaign", err)
		other := win(t, open(t, dir), "key", "other")
		if other.Token() <= last {
			t.Errorf("token %d after %d", other.Token(), last)
		}
		last = other.Token()
		resign(t, other)
	}
}

// The last record stays until the next one is there: in between, it is all that keeps tokens from being given out again.
func TestTheLastRecordOutlivesAWinThatFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir)
	b.SetClock(frozen)
	last := win(t, b, "key", "x")
	resign(t, last)
	record, tried := recordPath(t, dir, "key"), false
	var err error
	supervise(t, []uint32{unix.SYS_OPENAT}, func(r request) unix.Errno {
		if r.args[2]&(unix.O_WRONLY|unix.O_EXCL) != unix.O_WRONLY|unix.O_EXCL { // as only a record is made
			return 0
		}
		tried = true
		return unix.ENOSPC
	}, func() { _, err = b.Campaign(within(t), "key", []byte("x")) })
	mustPass(t, "Campaign", err)
	if left := recordPath(t, dir, "key"); left != record || !tried {
		t.Errorf("%s is left of %s, and another one was tried: %t", left, record, tried)
	}
	next := win(t, b, "key", "x")
	if next.Token() <= last.Token() {
		t.Errorf("token %d after %d", next.Token(), last.Token())
	}
	resign(t, next)
}

// However slow the disk is: a grant counts from before the lock is asked for, or before the files are looked at.
func TestGrantsCountFromBeforeTheFilesAreTouched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir)
	var touched []backend.Instant
	note := func(r request) unix.Errno {
		if r.number == unix.SYS_OPENAT || r.args[1] == unix.F_OFD_SETLK {
			touched = append(touched, backend.Now())
		}
		return 0
	}
	var l backend.Lease
	var err error
	supervise(t, []uint32{unix.SYS_FCNTL}, note, func() { l, err = b.Campaign(within(t), "key", []byte("x")) })
	must(t, err)
	if g := l.Grant(); len(touched) < 2 || touched[0].Since(g.Sent) <= 0 {
		t.Errorf("the grant of a win counts from %v, the lock was asked for at %v", g.Sent, touched)
	}
	touched = nil
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, recordPath(t, dir, "key"), make([]unix.Timespec, 2), 0)) // so that it is read
	var g backend.Grant
	supervise(t, []uint32{unix.SYS_OPENAT}, note, func() { g, err = l.Renew(context.WithoutCancel(t.Context())) })
	must(t, err)
	if len(touched) == 0 || touched[0].Since(g.Sent) <= 0 {
		t.Errorf("the grant of a renewal counts from %v, the record was opened at %v", g.Sent, touched)
	}
	resign(t, l)
}
