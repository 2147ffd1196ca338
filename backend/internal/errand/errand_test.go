package errand_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/backend/internal/errand"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCallsWhileItRunsAreOneRunMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs, together atomic.Int64
		on := make(chan struct{})
		e := errand.New(func() {
			if together.Add(1) != 1 {
				t.Error("two runs at once")
			}
			<-on
			runs.Add(1)
			together.Add(-1)
		})
		for range 5 {
			e.Call()
		}
		synctest.Wait()
		for range 5 {
			e.Call()
		}
		close(on)
		synctest.Wait()
		if n := runs.Load(); n != 2 {
			t.Errorf("%d runs, want 2", n)
		}
		e.Call()
		synctest.Wait()
		if n := runs.Load(); n != 3 {
			t.Errorf("%d runs after another call, want 3", n)
		}
		e.Stop()
	})
}

// What was there to do when it was called for is seen by a run that begins after that.
func TestNoCallIsMissed(t *testing.T) {
	var want, seen atomic.Int64
	e := errand.New(func() { seen.Store(want.Load()) })
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 2000 {
				want.Add(1)
				e.Call()
			}
		})
	}
	callers.Wait()
	for seen.Load() != want.Load() { // by a run that was called for, and none that is called for now
		runtime.Gosched()
	}
	e.Stop()
}

func TestStopSeesTheRunEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on := make(chan struct{})
		var ended atomic.Bool
		e := errand.New(func() {
			<-on
			ended.Store(true)
		})
		e.Call()
		e.Call()
		go func() {
			synctest.Wait()
			close(on)
		}()
		e.Stop()
		if !ended.Load() {
			t.Error("Stop returned before the run had ended")
		}
		ended.Store(false)
		e.Call()
		synctest.Wait()
		if ended.Load() {
			t.Error("done after Stop")
		}
	})
}

func TestItMayRetireInTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		var e *errand.Errand
		e = errand.New(func() {
			runs++
			e.Call()
			e.Retire()
		})
		e.Call()
		synctest.Wait()
		e.Stop()
		if runs != 1 {
			t.Errorf("%d runs, want 1", runs)
		}
	})
}

func TestOnceIsDoneOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on := make(chan struct{})
		var runs atomic.Int64
		stop := errand.Once(func() {
			<-on
			runs.Add(1)
		})
		go func() {
			synctest.Wait()
			close(on)
		}()
		stop()
		stop()
		if n := runs.Load(); n != 1 {
			t.Errorf("%d runs when stop had returned, want 1", n)
		}
	})
}
