package file_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// descriptors counts what the process has open.
func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

// A hundred candidates of one process, each a session of its own, all get their turn, one at a time, and
// nothing stays open. It runs beside no other test, because it counts descriptors.
func TestHundredCandidates(t *testing.T) {
	const candidates = 100
	before := descriptors(t)
	t.Run("run", func(t *testing.T) {
		dir := t.TempDir()
		first := win(t, open(t, dir), "many", "first")
		type term struct {
			token uint64
			err   error
		}
		terms := make(chan term, candidates) // in the order of winning: who has won tells before it resigns
		ctx, cancel := context.WithCancel(t.Context())
		var leaving sync.WaitGroup
		defer leaving.Wait()
		defer cancel()
		for i := range candidates {
			b, looks := waiting(t, dir)
			leaving.Go(func() {
				l, err := b.Campaign(ctx, "many", fmt.Append(nil, i))
				if err != nil {
					terms <- term{0, err}
					return
				}
				terms <- term{l.Token(), nil}
				if err := l.Resign(within(t)); err != nil {
					t.Error(err)
				}
			})
			listens(t, looks)
		}
		last := first.Token()
		resign(t, first)
		for range candidates {
			won := receive(t, "a win", terms)
			if won.err != nil {
				t.Fatal(won.err)
			}
			if won.token <= last {
				t.Errorf("token %d after %d", won.token, last)
			}
			last = won.token
		}
	})
	if after := descriptors(t); after > before+2 { // the runtime may have opened some for itself
		t.Errorf("%d descriptors are open, there were %d before", after, before)
	}
}

// Calls that end early give back what they used, too.
func TestNothingStaysOpen(t *testing.T) {
	dir := t.TempDir()
	b, looks := waiting(t, dir)
	once := func() {
		l := win(t, b, "leak", "leader")
		<-looks
		other, theirs := waiting(t, dir)
		next := campaign(t, t.Context(), other, "leak", "next")
		listens(t, theirs)
		for range other.Observe(within(t), "leak") {
			break
		}
		<-theirs
		must(t, other.Close())
		if o := receive(t, "the end of the candidacy", next); o.err == nil {
			t.Error("won a key that is held")
		}
		must(t, os.Remove(dir+"/leak/lock"))
		if _, err := l.Renew(within(t)); err == nil {
			t.Error("renewed a term that was lost")
		}
	}
	once()
	before := descriptors(t)
	for range 50 {
		once()
	}
	if after := descriptors(t); after > before+2 {
		t.Errorf("%d descriptors are open, there were %d before", after, before)
	}
}

// When the user has no inotify instance left, waiting goes on by looking.
func TestNoMoreNotices(t *testing.T) {
	for {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if errors.Is(err, unix.EMFILE) {
			break
		}
		must(t, err)
		defer unix.Close(fd)
	}
	dir := t.TempDir()
	l := win(t, open(t, dir), "deaf", "leader")
	b, looks := waiting(t, dir)
	next := campaign(t, t.Context(), b, "deaf", "next")
	listens(t, looks)
	resign(t, l)
	o := receive(t, "the next win", next)
	must(t, o.err)
	resign(t, o.lease)
}
