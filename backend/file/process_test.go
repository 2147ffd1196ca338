package file_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/file"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

const (
	holderRole = "holder"
	envDir     = "HUSTINGS_FILE_DIR"
	envMode    = "HUSTINGS_FILE_MODE"
	processKey = "process"
	rawLock    = "raw" // beside the keys' folders
)

// What a holder does beside holding.
const (
	modeRounds = "rounds" // resigns and wins anew, without end, and with a clock that stands still
	modeChild  = "child"  // has a child that outlives it
	modeRaw    = "raw"    // holds a flock(2) lock as well
)

// holder is a process that wins the key, and ends by being killed.
func holder() int {
	if err := hold(context.Background(), os.Getenv(envDir), os.Getenv(envMode)); err != nil {
		fmt.Println("failed", err)
	}
	return 1
}

func hold(ctx context.Context, dir, mode string) error {
	b, err := file.New(dir, file.WithTTL(file.MaxTTL))
	if err != nil {
		return err
	}
	if mode == modeRounds {
		b.SetClock(func() time.Time { return time.UnixMicro(0) })
	}
	for {
		l, err := b.Campaign(ctx, processKey, fmt.Append(nil, os.Getpid()))
		if err != nil {
			return err
		}
		switch mode {
		case modeChild:
			child := exec.CommandContext(ctx, "sleep", "60")
			if err := child.Start(); err != nil {
				return err
			}
			fmt.Println("child", child.Process.Pid)
		case modeRaw:
			fd, err := unix.Open(dir+"/"+rawLock, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
			if err == nil {
				err = unix.Flock(fd, unix.LOCK_EX)
			}
			if err != nil {
				return err
			}
		}
		fmt.Println("won", l.Token())
		if mode != modeRounds {
			<-make(chan struct{})
		}
		if err := l.Resign(ctx); err != nil {
			return err
		}
	}
}

func startHolder(t testing.TB, dir, mode string) *servers.Self {
	t.Helper()
	return servers.StartSelf(t, holderRole, envDir+"="+dir, envMode+"="+mode)
}

// token reads what a holder printed when it won.
func token(t testing.TB, line string) (token uint64) {
	t.Helper()
	if _, err := fmt.Sscanf(line, "won %d", &token); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return token
}

// openProcess opens the one session of a candidate's process of the fault suite.
func openProcess(_ context.Context, dir string, ttl time.Duration) (backend.Backend, func(), error) {
	b, err := file.New(dir, file.WithTTL(ttl))
	return b, func() {}, err
}

// The kernel frees the key of a process that was killed, and the next one wins at once. The TTL is a minute, so
// that no look that was due anyway can be what did it.
func TestKillHandsOverAtOnce(t *testing.T) {
	t.Parallel()
	const rounds = 20
	dir := t.TempDir()
	var took []time.Duration
	for range rounds {
		p := startHolder(t, dir, "")
		old := token(t, p.Await("won "))
		b, looks := waiting(t, dir)
		next := campaign(t, t.Context(), b, processKey, "next")
		watched, watching := waiting(t, dir)
		seen := observe(t, watched, processKey)
		if l := receive(t, "the leader", seen); l.Token != old {
			t.Fatalf("observed %+v, want token %d", l, old)
		}
		listens(t, looks)
		listens(t, watching)
		killed := time.Now()
		p.Kill()
		o := receive(t, "the next win", next)
		if o.err != nil {
			t.Fatal(o.err)
		}
		took = append(took, o.at.Sub(killed))
		if o.lease.Token() <= old {
			t.Errorf("token %d after %d", o.lease.Token(), old)
		}
		for l := range seen {
			if l.Token == o.lease.Token() {
				break
			}
		}
		resign(t, o.lease)
	}
	t.Logf("from kill to win, median %v, longest %v", trial.Quantile(took, 0.5), trial.Quantile(took, 1))
	if m := trial.Quantile(took, 0.5); m > time.Second {
		t.Errorf("the median is %v, must be at once", m)
	}
}

// observe follows key beside the test, until its end.
func observe(t testing.TB, b *file.Backend, key string) <-chan backend.Leader {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	leaders := make(chan backend.Leader)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(leaders)
		for l, err := range b.Observe(ctx, key) {
			if err != nil {
				t.Errorf("Observe: %v", err)
				return
			}
			select {
			case leaders <- l:
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return leaders
}

// A child that is alive when its parent is killed must not keep the lock.
func TestChildDoesNotInheritTheLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startHolder(t, dir, modeChild)
	var pid int
	if _, err := fmt.Sscanf(p.Await("child "), "child %d", &pid); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGKILL) })
	p.Await("won ")
	b, looks := waiting(t, dir)
	next := campaign(t, t.Context(), b, processKey, "next")
	listens(t, looks)
	p.Kill()
	if o := receive(t, "the next win", next); o.err != nil {
		t.Fatal(o.err)
	}
	if err := unix.Kill(pid, 0); err != nil {
		t.Errorf("the child: %v, must still run", err)
	}
}

// Whatever the moment at which a process is killed, no token is ever used again, and none goes back. The
// processes' clock stands still, so that it is the folder alone which counts. Three at once also kill each
// other's files' order of events.
func TestTokensGrowAcrossKills(t *testing.T) {
	t.Parallel()
	const lives, together = 15, 3
	dir := t.TempDir()
	watcher := open(t, dir)
	seen := map[uint64]string{}
	for life := range lives {
		var cast []*servers.Self
		for range together {
			cast = append(cast, startHolder(t, dir, modeRounds))
		}
		for _, p := range cast {
			p.Await("won ")
		}
		<-time.After(time.Duration(rand.IntN(20_000)) * time.Microsecond)
		for i, p := range cast {
			p.Kill()
			var last uint64
			for _, line := range p.Lines() {
				now := token(t, line)
				if now <= last {
					t.Fatalf("life %d: token %d after %d", life, now, last)
				}
				last = now
				who := fmt.Sprintf("%d of life %d", i, life)
				if other := seen[now]; other != "" {
					t.Fatalf("token %d was used by %s and by %s", now, other, who)
				}
				seen[now] = who
			}
		}
		l := win(t, watcher, processKey, "between")
		for used := range seen {
			if l.Token() <= used {
				t.Fatalf("life %d: token %d was won after %d", life, l.Token(), used)
			}
		}
		resign(t, l)
		if left := files(t, dir, processKey); len(left) != 2 {
			t.Fatalf("life %d: %q are left, want the lock and the last record", life, left)
		}
	}
	t.Logf("%d terms in %d lives", len(seen), lives*together)
}

// What waits must wake when the lock file's place is taken by another, though nothing is closed.
func TestStoppedHolderIsNotDisturbed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startHolder(t, dir, "")
	old := token(t, p.Await("won "))
	p.Pause()
	b, looks := waiting(t, dir)
	next := campaign(t, t.Context(), b, processKey, "next")
	listens(t, looks)
	if l := receive(t, "the leader", observe(t, open(t, dir), processKey)); l.Token != old {
		t.Errorf("observed %+v, want token %d", l, old)
	}
	select {
	case o := <-next:
		t.Fatalf("a stopped holder lost its key: %+v", o)
	case <-time.After(500 * time.Millisecond):
	}
	p.Kill()
	if o := receive(t, "the next win", next); o.err != nil || o.lease.Token() <= old {
		t.Fatalf("%+v after %d", o, old)
	}
}
