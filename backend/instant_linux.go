package backend

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// suspended returns how long the machine slept since boot: CLOCK_BOOTTIME counts suspended time and
// CLOCK_MONOTONIC does not (clock_gettime(2)). Both are read from the system, never from package
// time, so that the difference also holds under the fake time of testing/synctest.
func suspended() time.Duration {
	boot, ok := read(unix.CLOCK_BOOTTIME)
	mono, both := read(unix.CLOCK_MONOTONIC)
	if !ok || !both {
		return 0
	}
	return boot - mono
}

// read reads a clock. It does not tell Go's scheduler, as unix.ClockGettime does at a third of its cost: that is for calls that may block.
func read(clock uintptr) (time.Duration, bool) {
	var t unix.Timespec
	_, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&t)), 0)
	return time.Duration(t.Nano()), errno == 0
}
