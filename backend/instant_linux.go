package backend

import (
	"time"

	"golang.org/x/sys/unix"
)

// suspended returns how long the machine slept since boot: CLOCK_BOOTTIME counts suspended time and
// CLOCK_MONOTONIC does not (clock_gettime(2)). Both are read from the system, never from package
// time, so that the difference also holds under the fake time of testing/synctest.
func suspended() time.Duration {
	var boot, mono unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - mono.Nano())
}
