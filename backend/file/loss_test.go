package file_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/file"
	"github.com/hustings-go/hustings/retry"
)

// recordPath returns the path of the only record of a key.
func recordPath(t testing.TB, dir, name string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, name, "term-*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("records: %q, error %v, want one", found, err)
	}
	return found[0]
}

func readRecord(t testing.TB, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(recordPath(t, dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// frozen is a clock that stands still at 1970, so that it is the folder alone that counts.
func frozen() time.Time { return time.UnixMicro(0) }

// What operators and bad disks do to a leader's files. The loss is told by every call, at once by Wait, and the
// next term has a greater token.
func TestLeaderLosesItsFiles(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		harm    func(t testing.TB, dir, key string)
		byClock bool // nothing but the clock is left to count by
	}{
		{"the lock is removed", func(t testing.TB, dir, key string) { must(t, os.Remove(filepath.Join(dir, key, "lock"))) }, false},
		{"the lock is replaced", func(t testing.TB, dir, key string) {
			draft := filepath.Join(dir, key, "draft")
			must(t, os.WriteFile(draft, nil, 0o600))
			must(t, os.Rename(draft, filepath.Join(dir, key, "lock")))
		}, false},
		{"the record is removed", func(t testing.TB, dir, key string) { must(t, os.Remove(recordPath(t, dir, key))) }, true},
		{"the record is emptied", func(t testing.TB, dir, key string) { must(t, os.Truncate(recordPath(t, dir, key), 0)) }, false},
		{"the record is overwritten", func(t testing.TB, dir, key string) {
			must(t, os.WriteFile(recordPath(t, dir, key), []byte("garbage"), 0o600))
		}, false},
		{"the record is edited", func(t testing.TB, dir, key string) {
			data := readRecord(t, dir, key)
			must(t, os.WriteFile(recordPath(t, dir, key), []byte(strings.Replace(string(data), "leader", "leadeR", 1)), 0o600))
		}, false},
		{"the record is replaced by a whole one", func(t testing.TB, dir, key string) {
			data, err := file.WithValue(readRecord(t, dir, key), "usurper")
			must(t, err)
			must(t, os.WriteFile(recordPath(t, dir, key), data, 0o600))
		}, false},
		{"the key's folder is removed", func(t testing.TB, dir, key string) { must(t, os.RemoveAll(filepath.Join(dir, key))) }, true},
		{"the key's folder is moved", func(t testing.TB, dir, key string) {
			must(t, os.Rename(filepath.Join(dir, key), filepath.Join(dir, key+".away")))
		}, true},
	} {
		for opName, op := range map[string]func(t testing.TB, l backend.Lease) error{
			"Renew":    func(t testing.TB, l backend.Lease) error { _, err := l.Renew(within(t)); return err },
			"Proclaim": func(t testing.TB, l backend.Lease) error { return l.Proclaim(within(t), []byte("new")) },
			"Wait":     func(t testing.TB, l backend.Lease) error { return l.Wait(within(t)) },
		} {
			t.Run(tc.name+"/"+opName, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				b, looks := waiting(t, dir)
				if !tc.byClock {
					b.SetClock(frozen)
				}
				l := win(t, b, "key", "leader")
				receive(t, "the look of Campaign", looks)
				waits := make(chan error, 1)
				go func() { waits <- l.Wait(within(t)) }()
				listens(t, looks)
				tc.harm(t, dir, "key")
				mustBe(t, opName, op(t, l), backend.ErrLost)
				mustBe(t, "Wait begun before", receive(t, "Wait", waits), backend.ErrLost)
				mustBe(t, "a second "+opName, op(t, l), backend.ErrLost)
				resign(t, l)
				next := win(t, b, "key", "leader")
				if next.Token() <= l.Token() {
					t.Errorf("token %d after %d", next.Token(), l.Token())
				}
				resign(t, next)
			})
		}
	}
}

// A term that was deposed, and has not noticed, leaves nothing in its successor's folder when it resigns.
func TestResignationOfATermThatWasDeposed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := win(t, open(t, dir), "key", "old")
	must(t, os.Remove(filepath.Join(dir, "key", "lock")))
	next := win(t, open(t, dir), "key", "next")
	before := readRecord(t, dir, "key")
	resign(t, old)
	if after := readRecord(t, dir, "key"); !bytes.Equal(after, before) {
		t.Errorf("the successor's record was %q, and is %q", before, after)
	}
	resign(t, next)
}

// A Campaign that was cancelled before it looked makes no term, though the key is free.
func TestCampaignThatWasCancelledBeforeItLooked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	b.OnLook(cancel)
	_, err := b.Campaign(ctx, "key", []byte("x"))
	mustBe(t, "Campaign", err, context.Canceled)
	if left := files(t, dir, "key"); len(left) > 1 {
		t.Errorf("%q are left", left)
	}
}

// A file was touched, and nothing is lost.
func TestTouchedRecordIsNotLost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := win(t, open(t, dir), "key", "leader")
	must(t, os.Chtimes(recordPath(t, dir, "key"), time.Time{}, time.Unix(1, 0)))
	must(t, os.Chtimes(filepath.Join(dir, "key", "lock"), time.Time{}, time.Unix(1, 0)))
	if _, err := l.Renew(within(t)); err != nil {
		t.Error(err)
	}
	resign(t, l)
}

// What a crash leaves behind half done is in nobody's way, and counts if it may have been announced.
func TestLeftoversOfACrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	must(t, os.Mkdir(key, 0o700))
	must(t, os.WriteFile(filepath.Join(key, "new-XYZ"), []byte("half"), 0o600))
	for _, token := range []int{3, 8, 5} {
		must(t, os.WriteFile(filepath.Join(key, fmt.Sprintf("term-%019d", token)), []byte("half"), 0o600))
	}
	b := open(t, dir)
	b.SetClock(frozen)
	for l, err := range b.Observe(within(t), "key") {
		if err != nil || !l.Vacant() {
			t.Errorf("observed %+v, error %v, want vacancy", l, err)
		}
		break
	}
	l := win(t, b, "key", "leader")
	if l.Token() != 9 {
		t.Errorf("token %d, want 9", l.Token())
	}
	if left := files(t, dir, "key"); fmt.Sprint(left) != "[lock term-0000000000000000009]" {
		t.Errorf("%q are left", left)
	}
	resign(t, l)
	data := string(readRecord(t, dir, "key"))
	if !strings.Contains(data, `"state":"resigned"`) || strings.Contains(data, "leader") {
		t.Errorf("after the resignation the record is %q", data)
	}
}

// The highest token there is cannot be followed.
func TestCounterAtItsEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "key"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "key", fmt.Sprintf("term-%d", uint64(math.MaxInt64))), nil, 0o600))
	_, err := open(t, dir).Campaign(within(t), "key", nil)
	if !retry.IsPermanent(err) {
		t.Errorf("Campaign: %v, want a permanent error", err)
	}
}

// A folder that went back in time, clock and all, is told of by an observer that has seen better.
func TestObserverDoesNotGoBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir)
	l := win(t, b, "key", "leader")
	watcher := open(t, dir)
	var failed error
	for seen, err := range watcher.Observe(within(t), "key") {
		if err != nil {
			failed = err
			break
		}
		if seen.Token == l.Token() {
			resign(t, l)
			must(t, os.RemoveAll(filepath.Join(dir, "key")))
			early := open(t, dir)
			early.SetClock(frozen)
			win(t, early, "key", "usurper")
		}
	}
	mustPass(t, "Observe", failed)
}

// A tick that is due while the term is renewed waits for that, and would make the next TTL shorter.
func TestTermThatIsRenewedForgetsEarlierTicks(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), file.WithTTL(time.Hour))
	l := win(t, b, "renewed", "x").(*file.Lease)
	tick := l.Tick()
	if _, err := l.Renew(within(t)); err != nil {
		t.Fatal(err)
	}
	for range file.LapseTicks {
		tick()
	}
	if _, err := l.Renew(within(t)); err != nil {
		t.Errorf("after ticks that came before a renewal: %v", err)
	}
	tick = l.Tick()
	for range file.LapseTicks {
		tick()
	}
	_, err := l.Renew(within(t))
	mustBe(t, "after a TTL without renewals", err, backend.ErrLost)
}

// A term that its election has stopped renewing is given up by a timer, and the key is busy no more.
func TestTermThatRanOutIsNotBusy(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), file.WithTTL(file.MinTTL))
	l := win(t, b, "lapsed", "x")
	for {
		next, err := b.Campaign(within(t), "lapsed", []byte("y"))
		if errors.Is(err, backend.ErrBusy) {
			<-time.After(10 * time.Millisecond)
			continue
		}
		must(t, err)
		if age := backend.Now().Since(l.Grant().Sent); age < l.Grant().TTL || age > l.Grant().TTL+5*time.Second {
			t.Errorf("free %v after a grant of %v", age, l.Grant().TTL)
		}
		if next.Token() <= l.Token() {
			t.Errorf("token %d after %d", next.Token(), l.Token())
		}
		resign(t, next)
		return
	}
}
