package trial

import (
	"bytes"
	"runtime"
	"testing"
	"time"
)

// Outlast is the tests of a package, to be given to goleak, in which clients of Redis are made. go-redis asks once a
// second whether a server is back that it could not dial PoolSize times, and the goroutine that does sees up to a
// second late that its client was closed: longer than goleak waits, and nothing of ours can end it sooner.
type Outlast struct{ *testing.M }

// Run runs the tests, and returns when that goroutine is gone or has no excuse any more.
func (o Outlast) Run() int {
	code := o.M.Run()
	const probe = "go-redis/v9/internal/pool.(*ConnPool).tryDial("
	for end := time.Now().Add(Patience); running(probe) && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	return code
}

// running tells whether some goroutine is in function.
func running(function string) bool {
	stacks := make([]byte, 1<<20)
	for {
		if n := runtime.Stack(stacks, true); n < len(stacks) {
			return bytes.Contains(stacks[:n], []byte(function))
		}
		stacks = make([]byte, 2*len(stacks))
	}
}
