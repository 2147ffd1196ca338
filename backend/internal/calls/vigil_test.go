package calls_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
)

var errTurn = errors.New("the turn failed")

// keeper keeps a vigil, and notes what happens. Without do, its turns do nothing.
type keeper struct {
	t    *testing.T
	do   func(context.Context) error
	told error

	mu    sync.Mutex
	notes []string
}

func (k *keeper) note(what string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.notes = append(k.notes, what)
}

func (k *keeper) vigil(open *calls.Open) *calls.Vigil {
	return open.Vigil(k.t.Context(), func(ctx context.Context) error {
		k.note("turn")
		defer k.note("turned")
		if k.do == nil {
			return nil
		}
		return k.do(ctx)
	}, func() { k.note("rest") }, func(err error) {
		k.note("end")
		k.told = err
	})
}

// expect waits until all is still, and compares what has happened since.
func (k *keeper) expect(what string, notes ...string) {
	k.t.Helper()
	synctest.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Equal(k.notes, notes) {
		k.t.Errorf("%s: %q, want %q", what, k.notes, notes)
	}
	k.notes = nil
}

// until is a turn that lasts until its context ends, and then for a second.
func until(cause *error, err error) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		*cause = context.Cause(ctx)
		time.Sleep(time.Second)
		return err
	}
}

func vigils(t *testing.T, test func(t *testing.T, open *calls.Open, k *keeper)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, &calls.Open{}, &keeper{t: t}) })
}

func TestATurnIsTakenAtOnceAndWheneverItIsCalledFor(t *testing.T) {
	vigils(t, func(_ *testing.T, open *calls.Open, k *keeper) {
		v := k.vigil(open)
		k.expect("before it has begun")
		stop := v.Begin()
		k.expect("at the beginning", "turn", "turned")
		v.Call()
		k.expect("when called for", "turn", "turned")
		k.do = func(context.Context) error { time.Sleep(time.Second); return nil }
		v.Call()
		synctest.Wait()
		v.Call()
		v.Call()
		k.expect("while a turn is under way", "turn")
		time.Sleep(2 * time.Second)
		k.expect("after that", "turned", "turn", "turned")
		stop()
		v.Call()
		stop()
		k.expect("when stopped", "rest")
		open.Close(nil)
		k.expect("when closed later")
	})
}

func TestNoGoroutineKeepsAVigil(t *testing.T) {
	vigils(t, func(t *testing.T, open *calls.Open, k *keeper) {
		before := runtime.NumGoroutine()
		for range 100 {
			defer k.vigil(open).Begin()()
			synctest.Wait()
		}
		if more := runtime.NumGoroutine() - before; more > 10 {
			t.Errorf("%d goroutines for 100 vigils", more)
		}
	})
}

// What it held is given back before it is told, and once.
func TestATurnThatFailsEndsTheVigil(t *testing.T) {
	for _, begun := range []bool{true, false} {
		vigils(t, func(t *testing.T, open *calls.Open, k *keeper) {
			k.do = func(context.Context) error { return errTurn }
			v := k.vigil(open)
			if !begun {
				v.Call()
				k.expect("a turn before it began", "turn", "turned", "rest", "end")
			}
			stop := v.Begin()
			if begun {
				k.expect("a turn", "turn", "turned", "rest", "end")
			}
			if !errors.Is(k.told, errTurn) {
				t.Errorf("told %v", k.told)
			}
			v.Call()
			open.Close(nil)
			stop()
			k.expect("after the end")
		})
	}
}

func TestStopSeesTheEndOfATurnAndTellsNobody(t *testing.T) {
	for _, err := range []error{nil, errTurn} {
		vigils(t, func(t *testing.T, open *calls.Open, k *keeper) {
			var cause error
			k.do = until(&cause, err)
			stop := k.vigil(open).Begin()
			synctest.Wait()
			began := time.Now()
			go stop() // as many may
			stop()
			if took := time.Since(began); took != time.Second {
				t.Errorf("stopped after %v", took)
			}
			k.expect("a turn and the stop", "turn", "turned", "rest")
			if cause == nil || errors.Is(cause, backend.ErrClosed) {
				t.Errorf("the turn was ended by %v", cause)
			}
		})
	}
}

func TestStopWaitsForWhatIsBeingTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open calls.Open
		stop := open.Vigil(t.Context(), func(context.Context) error { return errTurn }, func() {}, func(error) { time.Sleep(time.Second) }).Begin()
		synctest.Wait()
		began := time.Now()
		if stop(); time.Since(began) != time.Second {
			t.Errorf("stopped after %v", time.Since(began))
		}
	})
}

// A Close is told as such, whatever comes of the turn under way, and waits for nobody.
func TestCloseEndsVigils(t *testing.T) {
	for _, err := range []error{nil, errTurn} {
		vigils(t, func(t *testing.T, open *calls.Open, k *keeper) {
			var cause error
			k.do = until(&cause, err)
			stop := k.vigil(open).Begin()
			synctest.Wait()
			began := time.Now()
			if !open.Close(nil) || !began.Equal(time.Now()) {
				t.Error("Close has waited")
			}
			time.Sleep(time.Second)
			k.expect("a turn and the end", "turn", "turned", "rest", "end")
			if !errors.Is(k.told, backend.ErrClosed) || !errors.Is(cause, backend.ErrClosed) {
				t.Errorf("the turn was ended by %v, and %v was told", cause, k.told)
			}
			stop()
			k.expect("after the end")
		})
	}
	vigils(t, func(t *testing.T, open *calls.Open, k *keeper) {
		idle := k.vigil(open)
		defer idle.Begin()()
		k.expect("at the beginning", "turn", "turned")
		open.Close(nil)
		k.expect("one that waits", "rest", "end")
		late := &keeper{t: t}
		defer late.vigil(open).Begin()()
		late.expect("one that begins later", "rest", "end")
		if !errors.Is(k.told, backend.ErrClosed) || !errors.Is(late.told, backend.ErrClosed) {
			t.Errorf("told %v, and %v", k.told, late.told)
		}
	})
}

// A stop is the last word, whether it comes before Close or after it.
func TestAStopDuringCloseTellsNobody(t *testing.T) {
	for _, closedFirst := range []bool{true, false} {
		vigils(t, func(_ *testing.T, open *calls.Open, k *keeper) {
			var cause error
			k.do = until(&cause, nil)
			stop := k.vigil(open).Begin()
			synctest.Wait()
			if closedFirst {
				open.Close(nil)
			}
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				stop()
			}()
			synctest.Wait()
			open.Close(nil)
			<-stopped
			k.expect("a turn and the stop", "turn", "turned", "rest")
		})
	}
}

func TestNothingIsKeptOfAVigilThatHasEnded(t *testing.T) {
	var open calls.Open
	for what, fails := range map[string]bool{"was stopped": false, "failed before it began": true} {
		ended := make(chan struct{})
		v := open.Vigil(t.Context(), func(context.Context) error {
			if fails {
				return errTurn
			}
			return nil
		}, func() {}, func(error) { close(ended) })
		left := weak.Make(v)
		if fails {
			v.Call()
			<-ended
		}
		v.Begin()()
		v = nil
		for n := 0; left.Value() != nil; n++ { // the goroutine of a turn may be about to end
			if n == 1000 {
				t.Fatalf("one that %s is kept", what)
			}
			runtime.GC()
		}
	}
	open.Close(nil)
}

type name struct{}

func TestATurnHasTheCallersValuesOnly(t *testing.T) {
	vigils(t, func(t *testing.T, open *calls.Open, _ *keeper) {
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), name{}, "value"))
		cancel()
		value, err := any(nil), errors.New("no turn was taken")
		stop := open.Vigil(ctx, func(ctx context.Context) error {
			value, err = ctx.Value(name{}), ctx.Err()
			return nil
		}, func() {}, func(err error) { t.Error(err) }).Begin()
		synctest.Wait()
		stop()
		if value != "value" || err != nil {
			t.Errorf("value %v, error %v", value, err)
		}
	})
}
