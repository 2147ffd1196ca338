//go:build unix

package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// crowd is many candidacies at once, of one system.
type crowd struct {
	t     testing.TB
	ctx   context.Context //nolint:containedctx // it is what ends them
	stop  context.CancelFunc
	leave chan struct{} // one element has one leader give up
	left  sync.WaitGroup

	stood  atomic.Int64 // candidacies so far
	began  atomic.Int64 // reigns so far
	failed atomic.Int64
	why    atomic.Pointer[error] // the first failure
	led    chan time.Time        // when each of the first reigns began, as many as it holds
}

func newCrowd(t testing.TB) *crowd {
	ctx, stop := context.WithCancel(context.Background())
	return &crowd{t: t, ctx: ctx, stop: stop, leave: make(chan struct{}), led: make(chan time.Time, 1<<16)}
}

// stand adds a candidacy, which leads until it is asked to leave, and then is no more.
func (c *crowd) stand(s session, key string) {
	c.stood.Add(1)
	c.left.Go(func() {
		err := s.stand(c.ctx, key, func(reign) {
			c.began.Add(1)
			c.led <- time.Now()
			select {
			case <-c.leave:
			case <-c.ctx.Done():
			}
		})
		if err != nil && c.ctx.Err() == nil {
			c.why.CompareAndSwap(nil, &err)
			c.failed.Add(1)
		}
	})
}

// lead waits until n reigns have begun, and returns how many have then, when time is up, or when all others have failed.
func (c *crowd) lead(n int, limit time.Duration) int {
	settle(int64(n), limit, func() int64 {
		if began := c.began.Load(); began+c.failed.Load() < c.stood.Load() {
			return began
		}
		return int64(n)
	})
	return int(c.began.Load())
}

// settle waits until what is counted has come to n, or time is up, and returns what it has come to.
func settle(n int64, limit time.Duration, count func() int64) int64 {
	end := time.Now().Add(limit)
	for {
		now := count()
		if now >= n || time.Now().After(end) {
			return now
		}
		<-time.After(10 * time.Millisecond)
	}
}

// complaint is the first failure, if there was any.
func (c *crowd) complaint() string {
	if err := c.why.Load(); err != nil {
		return fmt.Sprintf("%d failed, the first with: %v", c.failed.Load(), *err)
	}
	return ""
}

// end has all leave, closes the sessions, and waits until nobody stands.
func (c *crowd) end(sessions ...session) {
	c.stop()
	var closing sync.WaitGroup
	gone := make(chan struct{})
	go func() {
		c.left.Wait()
		close(gone)
	}()
	select { // leaders give up properly where they can
	case <-gone:
	case <-time.After(2 * time.Second): // who cannot be asked ends with its connection
	}
	for _, s := range sessions {
		closing.Go(s.close)
	}
	closing.Wait()
	<-gone
}
