package calls_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open calls.Open
		const withdrawal = time.Second
		returned := make(chan time.Duration, 1)
		began := time.Now()
		ctx, leave, err := open.Enter(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer leave()
			<-ctx.Done()
			time.Sleep(withdrawal)
			returned <- time.Since(began)
			if err := calls.Ended(ctx); !errors.Is(err, backend.ErrClosed) {
				t.Errorf("ended with %v", err)
			}
		}()
		observing, left, err := open.Enter(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		if open.Closed() || ctx.Err() != nil {
			t.Error("ended before Close")
		}
		if !open.Close(make(chan time.Time)) {
			t.Error("not all have returned")
		}
		if took := time.Since(began); took != withdrawal || len(returned) != 1 {
			t.Errorf("closed after %v, where a call returned after %v", took, withdrawal)
		}
		if err := calls.Ended(observing); !errors.Is(err, backend.ErrClosed) {
			t.Errorf("who is not awaited: %v", err)
		}
		left()
		if _, _, err := open.Enter(t.Context(), true); !errors.Is(err, backend.ErrClosed) || !open.Closed() {
			t.Errorf("a call after Close: %v", err)
		}
		if open.Close(nil) {
			t.Error("the second Close took itself for the first")
		}
	})
}

func TestCloseWaitsNoLongerThanEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open calls.Open
		_, leave, err := open.Enter(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		began := time.Now()
		if open.Close(time.After(time.Second)) || time.Since(began) != time.Second {
			t.Errorf("closed after %v, and a call is under way still", time.Since(began))
		}
	})
}

// Who has returned is not waited for.
func TestCloseForgetsWhoHasLeft(t *testing.T) {
	var open calls.Open
	ctx, leave, err := open.Enter(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	leave()
	if err := calls.Ended(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the context after the call: %v", err)
	}
	if !open.Close(nil) {
		t.Error("not all have returned")
	}
}

func TestEndedTellsTheCallersOwnEnd(t *testing.T) {
	var open calls.Open
	caller, cancel := context.WithCancel(t.Context())
	ctx, leave, err := open.Enter(caller, true)
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	cancel()
	if err := calls.Ended(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, backend.ErrClosed) {
		t.Errorf("ended with %v", err)
	}
}

func TestUnansweredIsADeadline(t *testing.T) {
	err := fmt.Errorf("%w within %v", calls.Unanswered("nobody answered"), time.Second)
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || err.Error() != "nobody answered within 1s" {
		t.Errorf("%v", err)
	}
}

func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		lasting, stop := calls.Linger(ctx, time.Second)
		defer stop()
		time.Sleep(time.Minute)
		cancelled := time.Now()
		cancel(backend.ErrClosed)
		if lasting.Err() != nil {
			t.Error("ended with its caller")
		}
		<-lasting.Done()
		if took := time.Since(cancelled); took != time.Second {
			t.Errorf("ended %v after its caller", took)
		}
		if err := calls.Ended(lasting); !errors.Is(err, backend.ErrClosed) {
			t.Errorf("ended with %v", err)
		}
		answered, done := calls.Linger(ctx, time.Hour)
		done()
		if answered.Err() == nil {
			t.Error("goes on after it was answered")
		}
	})
}
