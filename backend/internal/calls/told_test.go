package calls_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
)

// teller keeps how to tell, and counts the stops.
type teller[F any] struct {
	tell    F
	stopped int
}

func (t *teller[F]) begin(tell F) (stop func()) {
	t.tell = tell
	return func() { t.stopped++ }
}

var errTold = errors.New("told")

func TestObserveYieldsTheLastThatWasTold(t *testing.T) {
	var teller teller[func(backend.Leader, error)]
	var seen []uint64
	var end error
	turn := 0
	for l, err := range calls.Observe(t.Context(), func(tell func(backend.Leader, error)) (stop func()) {
		tell(backend.Leader{Token: 1}, nil)
		return teller.begin(tell)
	}) {
		if end = err; err != nil {
			continue
		}
		seen = append(seen, l.Token)
		switch turn++; turn {
		case 1: // while the loop is at work
			teller.tell(backend.Leader{Token: 2}, nil)
			teller.tell(backend.Leader{Token: 3}, nil)
		case 2:
			teller.tell(backend.Leader{}, errTold)
		}
	}
	if len(seen) != 2 || seen[0] != 1 || seen[1] != 3 || !errors.Is(end, errTold) || teller.stopped != 1 {
		t.Errorf("tokens %v, then error %v; stopped %d times", seen, end, teller.stopped)
	}
}

func TestObserveEndsInSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var teller teller[func(backend.Leader, error)]
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			synctest.Wait()
			cancel()
		}()
		for range 2 { // the second time it has ended before
			for l, err := range calls.Observe(ctx, teller.begin) {
				t.Errorf("yielded %v, %v", l, err)
			}
		}
		if teller.stopped != 1 {
			t.Errorf("stopped %d times", teller.stopped)
		}
	})
}

func TestObserveIsLeft(t *testing.T) {
	var teller teller[func(backend.Leader, error)]
	for range calls.Observe(t.Context(), func(tell func(backend.Leader, error)) (stop func()) {
		tell(backend.Leader{}, nil)
		return teller.begin(tell)
	}) {
		break
	}
	if teller.stopped != 1 {
		t.Errorf("stopped %d times", teller.stopped)
	}
}

func TestWaitReturnsWhatIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var teller teller[func(error)]
		go func() {
			synctest.Wait()
			teller.tell(errTold)
		}()
		wrap := func(err error) error { return fmt.Errorf("wrapped: %w", err) }
		if err := calls.Wait(t.Context(), teller.begin, wrap); err != errTold || teller.stopped != 1 { //nolint:errorlint // as it was told
			t.Errorf("returned %v; stopped %d times", err, teller.stopped)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			synctest.Wait()
			cancel()
		}()
		for range 2 {
			if err := calls.Wait(ctx, teller.begin, wrap); !errors.Is(err, context.Canceled) || err.Error() == context.Canceled.Error() {
				t.Errorf("returned %v after the end of its context", err)
			}
		}
		if teller.stopped != 2 {
			t.Errorf("stopped %d times", teller.stopped)
		}
	})
}
