package rediskv

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/hustings-go/hustings/backend/internal/calls"
)

// The client's reads from a socket end with their deadline and with nothing else: a context that is
// cancelled does not break them off. So each request is made by a goroutine of its own, which its caller may
// leave, and which ends with the answer or with the bound of a request, whichever is first. Close
// waits for those that are left.

// ask makes one request, bounded by b.bound, and returns its result; or the end of ctx, which the request
// does not notice.
func ask[T any](ctx context.Context, b *Backend, do func(context.Context) (T, error)) (T, error) {
	var none T
	if ctx.Err() != nil {
		return none, calls.Ended(ctx)
	}
	type result struct {
		value T
		err   error
	}
	answered := make(chan result, 1)
	b.spawn(func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.bound)
		defer cancel()
		value, err := do(bounded)
		answered <- result{value, b.inTime(bounded, err)}
	})
	select {
	case r := <-answered:
		return r.value, r.err
	case <-ctx.Done():
		return none, calls.Ended(ctx)
	}
}

// inTime names the bound in the error of a request that ran into it.
func (b *Backend) inTime(bounded context.Context, err error) error {
	if err != nil && (bounded.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded)) {
		return fmt.Errorf("%w within %v: %w", errNoAnswer, b.bound, err)
	}
	return err
}

// spawn runs do in a goroutine that Close waits for. What do does must be bounded.
func (b *Backend) spawn(do func()) {
	done := make(chan struct{})
	b.mu.Lock()
	b.running[done] = struct{}{}
	b.mu.Unlock()
	go func() {
		defer func() {
			b.mu.Lock()
			delete(b.running, done)
			b.mu.Unlock()
			close(done)
		}()
		do()
	}()
}
