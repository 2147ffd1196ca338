package file_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hustings-go/hustings/backend/file"
)

// lockByHand locks a key as other programs do: its first byte, or the whole file.
func lockByHand(t testing.TB, dir, name string, length int64) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, name, "lock"), os.O_RDWR, 0)
	must(t, err)
	must(t, unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Len: length}))
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// Whoever has locked the key and has made no term is not mistaken for the last leader, who crashed. It is
// what a candidate is between lock and record, and what "flock --fcntl" is.
func TestLockAloneIsNoTerm(t *testing.T) {
	t.Parallel()
	for name, length := range map[string]int64{"first byte": 1, "whole file": 0} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			crashed := open(t, dir)
			old := win(t, crashed, "key", "crashed")
			crashed.Crash()
			lock := lockByHand(t, dir, "key", length)
			for seen, err := range open(t, dir).Observe(within(t), "key") {
				if err != nil || !seen.Vacant() {
					t.Errorf("observed %+v, error %v, want vacancy", seen, err)
				}
				break
			}
			b, looks := waiting(t, dir)
			next := campaign(t, t.Context(), b, "key", "next")
			listens(t, looks)
			select {
			case o := <-next:
				t.Fatalf("won a key that is locked: %+v", o)
			default:
			}
			must(t, lock.Close())
			if o := receive(t, "the next win", next); o.err != nil || o.lease.Token() <= old.Token() {
				t.Errorf("%+v after token %d", o, old.Token())
			}
		})
	}
}

// Even when the lock has failed to exclude, two terms do not share a token.
func TestTokenIsTakenOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	slow, quick := open(t, dir), open(t, dir)
	quick.SetClock(frozen)
	var token uint64
	slow.SetClock(func() time.Time { // asked between reading the last token and taking the next
		if token == 0 {
			must(t, os.Remove(filepath.Join(dir, "key", "lock")))
			token = win(t, quick, "key", "quick").Token()
		}
		return frozen()
	})
	l, err := slow.Campaign(within(t), "key", []byte("slow"))
	if err == nil {
		t.Fatalf("won with token %d, the other one's is %d", l.Token(), token)
	}
	mustPass(t, "Campaign", err)
	for seen, err := range slow.Observe(within(t), "key") {
		if err != nil || seen.Token != token || string(seen.Value) != "quick" {
			t.Errorf("observed %+v, error %v", seen, err)
		}
		break
	}
}

// The kernel tells that a file is closed just before it takes back its lock, and who looks in between finds
// it locked. Here that moment is made long: the notice comes from another descriptor, and the lock goes
// without one.
func TestNoticeThatComesTooEarly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	resign(t, win(t, open(t, dir), "key", "x"))
	lock := lockByHand(t, dir, "key", 1)
	b, looks := waiting(t, dir)
	next := campaign(t, t.Context(), b, "key", "next")
	listens(t, looks)
	early, err := os.OpenFile(lock.Name(), os.O_RDWR, 0)
	must(t, err)
	must(t, early.Close())
	listens(t, looks) // once for the notice, and once again
	must(t, unix.FcntlFlock(lock.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK, Len: 1}))
	if o := receive(t, "the next win", next); o.err != nil {
		t.Error(o.err)
	}
}

// A lock that goes without any notice is found free by the look that is due once per TTL.
func TestLostNotice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	resign(t, win(t, open(t, dir), "key", "x"))
	lock := lockByHand(t, dir, "key", 1)
	b, looks := waiting(t, dir, file.WithTTL(file.MinTTL))
	next := campaign(t, t.Context(), b, "key", "next")
	listens(t, looks)
	must(t, unix.FcntlFlock(lock.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK, Len: 1}))
	if o := receive(t, "the next win", next); o.err != nil {
		t.Error(o.err)
	}
}
