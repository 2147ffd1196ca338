package file_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/file"
	"github.com/hustings-go/hustings/internal/faults"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/retry"
)

func TestMain(m *testing.M) {
	switch servers.Role() {
	case faults.Role:
		os.Exit(faults.Candidate(openProcess))
	case holderRole:
		os.Exit(holder())
	}
	goleak.VerifyTestMain(m)
}

const (
	patience = 20 * time.Second // how long a test waits for what must come
	long     = 60 * time.Second // a TTL that does not run out in a test
)

// open makes a Backend on dir, closed at the end of the test.
func open(t testing.TB, dir string, opts ...file.Option) *file.Backend {
	t.Helper()
	b, err := file.New(dir, append([]file.Option{file.WithTTL(long)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

// within returns a context for what must come.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// win campaigns for key and must get it. It is resigned at the end of the test, if not before.
func win(t testing.TB, b *file.Backend, key, value string) backend.Lease {
	t.Helper()
	l, err := b.Campaign(within(t), key, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Resign(context.WithoutCancel(t.Context())) })
	return l
}

func resign(t testing.TB, l backend.Lease) {
	t.Helper()
	if err := l.Resign(within(t)); err != nil {
		t.Fatal(err)
	}
}

// outcome is what a Campaign ended with.
type outcome struct {
	lease backend.Lease
	err   error
	at    time.Time
}

// campaign stands for key beside the test, until ctx or the test ends, when it resigns.
func campaign(t testing.TB, ctx context.Context, b *file.Backend, key, value string) <-chan outcome {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	result := make(chan outcome, 1)
	done := make(chan struct{})
	var won backend.Lease
	go func() {
		defer close(done)
		l, err := b.Campaign(ctx, key, []byte(value))
		result <- outcome{l, err, time.Now()}
		won = l
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if won != nil {
			_ = won.Resign(context.WithoutCancel(ctx))
		}
	})
	return result
}

// receive returns what comes from ch, and fails the test if nothing does.
func receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: nothing came within %v", what, patience)
		panic("not reached")
	}
}

// mustBe fails the test unless err wraps target.
func mustBe(t testing.TB, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: %v, want %v", what, err, target)
	}
}

// mustPass fails the test unless err is an error that an election takes as passing, and campaigns again.
func mustPass(t testing.TB, what string, err error) {
	t.Helper()
	if err == nil || retry.IsPermanent(err) || errors.Is(err, backend.ErrDenied) || errors.Is(err, backend.ErrClosed) || errors.Is(err, backend.ErrBusy) {
		t.Errorf("%s: %v, want a passing error", what, err)
	}
}

// waiting is a Backend whose looks are counted, so that a test can tell when its Campaign has begun to wait:
// it looks, listens, and looks again.
func waiting(t testing.TB, dir string, opts ...file.Option) (b *file.Backend, looks chan struct{}) {
	t.Helper()
	b = open(t, dir, opts...)
	looks = make(chan struct{}, 1<<16)
	b.OnLook(func() { looks <- struct{}{} })
	return b, looks
}

// listens waits until the Campaign or Observe whose looks are counted has looked twice.
func listens(t testing.TB, looks <-chan struct{}) {
	t.Helper()
	receive(t, "the first look", looks)
	receive(t, "the second look", looks)
}

// files lists what stands in the folder of a key.
func files(t testing.TB, dir, name string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
