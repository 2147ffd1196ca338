package file_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hustings-go/hustings/internal/trial"
)

// rawWaiter blocks in flock(2), the native recipe, and tells when it has the lock. It has no token, no
// record, nothing durable, and cannot be cancelled.
func rawWaiter(b *testing.B, path string) <-chan time.Time {
	b.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	fd := int(f.Fd())
	won := make(chan time.Time, 1)
	go func() {
		for unix.Flock(fd, unix.LOCK_EX) == unix.EINTR {
		}
		won <- time.Now()
		_ = f.Close()
	}()
	return won
}

// BenchmarkHandover measures the time from the call of Resign to the return of the next candidate's
// Campaign, beside flock(2) from unlocking to the return of who blocks in it. Winning is two flushes to the
// disk, so it is measured on the disk of the temporary folder and in memory.
func BenchmarkHandover(b *testing.B) {
	for name, parent := range map[string]string{"disk": os.TempDir(), "tmpfs": "/dev/shm"} {
		b.Run(name, func(b *testing.B) {
			b.Setenv("TMPDIR", parent)
			dir := b.TempDir()
			var ours, raw []time.Duration
			for b.Loop() {
				holder := win(b, open(b, dir), "bench", "value")
				next, looks := waiting(b, dir)
				won := campaign(b, b.Context(), next, "bench", "value")
				listens(b, looks)
				<-time.After(time.Millisecond) // asleep by now
				began := time.Now()
				if err := holder.Resign(b.Context()); err != nil {
					b.Fatal(err)
				}
				o := receive(b, "the next win", won)
				if o.err != nil {
					b.Fatal(o.err)
				}
				ours = append(ours, o.at.Sub(began))
				resign(b, o.lease)

				f, err := os.OpenFile(filepath.Join(dir, rawLock), os.O_CREATE|os.O_RDWR, 0o600)
				if err != nil {
					b.Fatal(err)
				}
				if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
					b.Fatal(err)
				}
				blocked := rawWaiter(b, f.Name())
				<-time.After(time.Millisecond)
				began = time.Now()
				_ = f.Close()
				raw = append(raw, receive(b, "the next flock", blocked).Sub(began))
			}
			trial.ReportBeside(b, ours, raw)
		})
	}
}

// BenchmarkFailover measures the time from kill -9 of the leader's process to the return of the next
// candidate's Campaign, beside flock(2), whose lock the same process holds as well.
func BenchmarkFailover(b *testing.B) {
	dir := b.TempDir()
	var ours, raw []time.Duration
	for b.Loop() {
		p := startHolder(b, dir, modeRaw)
		p.Await("won ")
		next, looks := waiting(b, dir)
		won := campaign(b, b.Context(), next, processKey, "value")
		blocked := rawWaiter(b, filepath.Join(dir, rawLock))
		listens(b, looks)
		<-time.After(time.Millisecond)
		killed := time.Now()
		p.Kill()
		o := receive(b, "the next win", won)
		if o.err != nil {
			b.Fatal(o.err)
		}
		ours = append(ours, o.at.Sub(killed))
		raw = append(raw, receive(b, "the next flock", blocked).Sub(killed))
		resign(b, o.lease)
	}
	trial.ReportBeside(b, ours, raw)
}

// BenchmarkRenew measures a renewal.
func BenchmarkRenew(b *testing.B) {
	l := win(b, open(b, b.TempDir()), "bench", "value")
	ctx := context.Background()
	for b.Loop() {
		if _, err := l.Renew(ctx); err != nil {
			b.Fatal(err)
		}
	}
}
