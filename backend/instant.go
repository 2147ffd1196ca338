package backend

import "time"

// epoch anchors monotonic readings, which only mean something relative to each other. It is never
// written again.
var epoch = time.Now()

// Instant is one moment as read on three clocks: monotonic, wall, and the time that the machine spent
// suspended, which Go's monotonic clock does not count (golang/go#24595). Instants of one process can
// be compared; they mean nothing to another process.
type Instant struct {
	mono   time.Duration // since epoch
	wall   time.Duration // since 1970
	asleep time.Duration // suspended since boot, where the system tells; else 0
}

// Now reads the clocks. It does not allocate.
//
// Suspended time is read first. A pause between the readings then makes that reading too early, so
// that more time, never less, is later counted as gone.
func Now() Instant {
	asleep := suspended()
	t := time.Now()
	return Instant{mono: t.Sub(epoch), wall: time.Duration(t.UnixNano()), asleep: asleep}
}

// InstantAt makes an Instant of given readings, for simulations and tests with clocks of their own:
// monotonic and suspended time since any fixed moment, wall time since 1970.
func InstantAt(mono, wall, asleep time.Duration) Instant {
	return Instant{mono: mono, wall: wall, asleep: asleep}
}

// Since returns how much time passed from earlier to i, by whichever clock counted most: the
// monotonic clock plus the growth of suspended time, or the wall clock. What one clock misses (a
// suspend, a stopped virtual machine whose wall clock was set right afterwards) the other may see.
func (i Instant) Since(earlier Instant) time.Duration {
	return max(i.running(earlier), i.wall-earlier.wall)
}

// Skew returns how far the wall clock and the monotonic clock (with suspended time) moved apart from
// earlier to i, never negative. Much of it means that one of them was set, or missed a pause.
func (i Instant) Skew(earlier Instant) time.Duration {
	return (i.running(earlier) - (i.wall - earlier.wall)).Abs()
}

func (i Instant) running(earlier Instant) time.Duration {
	return i.mono - earlier.mono + max(0, i.asleep-earlier.asleep)
}

// Add returns the moment d after i on every clock.
func (i Instant) Add(d time.Duration) Instant {
	i.mono += d
	i.wall += d
	return i
}

// Wall returns i as wall time.
func (i Instant) Wall() time.Time { return time.Unix(0, int64(i.wall)) }
