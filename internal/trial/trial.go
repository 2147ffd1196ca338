// Package trial has what the tests of every store do: wait for what must come, stand for election beside the
// test, and tell errors that pass from others.
package trial

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/retry"
)

// Patience is how long a test waits for what must come.
const Patience = 20 * time.Second

// Within returns a context for what must come.
func Within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// Receive returns what comes from ch, and fails the test if nothing does.
func Receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	return ReceiveWithin(t, what, ch, Patience)
}

// ReceiveWithin is Receive with a patience of its own.
func ReceiveWithin[T any](t testing.TB, what string, ch <-chan T, d time.Duration) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(d):
		t.Fatalf("%s: nothing came within %v", what, d)
		panic("not reached")
	}
}

// Beside runs call beside the test, until ctx or the test ends.
func Beside[T any](t testing.TB, ctx context.Context, call func(context.Context) T) <-chan T {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	result := make(chan T, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		result <- call(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return result
}

// Win campaigns for key and must get it.
func Win(t testing.TB, b backend.Backend, key, value string) backend.Lease {
	t.Helper()
	l, err := b.Campaign(Within(t), key, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Outcome is what a Campaign ended with.
type Outcome struct {
	Lease backend.Lease
	Err   error
}

// Campaign stands for key beside the test, until ctx or the test ends.
func Campaign(t testing.TB, ctx context.Context, b backend.Backend, key, value string) <-chan Outcome {
	t.Helper()
	return Beside(t, ctx, func(ctx context.Context) Outcome {
		l, err := b.Campaign(ctx, key, []byte(value))
		return Outcome{l, err}
	})
}

// Candidate is Campaign, again after every error that passes.
func Candidate(t testing.TB, ctx context.Context, b backend.Backend, key, value string) <-chan Outcome {
	t.Helper()
	return Beside(t, ctx, func(ctx context.Context) Outcome {
		for {
			l, err := b.Campaign(ctx, key, []byte(value))
			if err == nil || ctx.Err() != nil || retry.IsPermanent(err) {
				return Outcome{l, err}
			}
			<-time.After(10 * time.Millisecond)
		}
	})
}

// Insist repeats do for as long as it fails in passing, as an election would; a client may take a while to
// connect again.
func Insist(t testing.TB, what string, do func() error) {
	t.Helper()
	if err := insist(Within(t), do); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// insist is Insist until ctx ends, for a goroutine of a test.
func insist(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil || !passes(err) || ctx.Err() != nil {
			return err
		}
		<-time.After(10 * time.Millisecond)
	}
}

// MustPass fails the test unless err is an error that an election takes as passing, and asks again. One that says that the
// term is lost is none: it ends the term.
func MustPass(t testing.TB, what string, err error) {
	t.Helper()
	if !passes(err) {
		t.Errorf("%s: %v, want a passing error", what, err)
	}
}

func passes(err error) bool {
	return err != nil && !retry.IsPermanent(err) && !errors.Is(err, backend.ErrDenied) && !errors.Is(err, backend.ErrClosed) &&
		!errors.Is(err, backend.ErrBusy) && !errors.Is(err, backend.ErrLost)
}

// MustBe fails the test unless err wraps target.
func MustBe(t testing.TB, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: %v, want %v", what, err, target)
	}
}

// Quantile returns the time that the share q of times does not exceed, and sorts them.
func Quantile(times []time.Duration, q float64) time.Duration {
	slices.Sort(times)
	return times[int(q*float64(len(times)-1))]
}

// Micro is d in microseconds.
func Micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// RenewAll renews all leases at once, and returns an error or nil for each.
func RenewAll(ctx context.Context, leases []backend.Lease) []error {
	_, errs := Renewals(ctx, leases)
	return errs
}

// KeepAll renews all leases at once, and those of which an error passes again, as their elections would: a request that
// is not answered in time says nothing but that the machine is slow.
func KeepAll(t testing.TB, leases []backend.Lease) {
	t.Helper()
	var all sync.WaitGroup
	for i, l := range leases {
		all.Go(func() {
			ctx := Within(t)
			if err := insist(ctx, func() error { _, err := l.Renew(ctx); return err }); err != nil {
				t.Errorf("Renew of term %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// Renewals renews all leases at once, and returns what came of each.
func Renewals(ctx context.Context, leases []backend.Lease) ([]backend.Grant, []error) {
	grants, errs := make([]backend.Grant, len(leases)), make([]error, len(leases))
	var all sync.WaitGroup
	for i, l := range leases {
		all.Go(func() { grants[i], errs[i] = l.Renew(ctx) })
	}
	all.Wait()
	return grants, errs
}
