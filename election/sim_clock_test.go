package election

import (
	"slices"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// gait is how a machine's clocks move while true time passes.
type gait uint8

const (
	gaitRunning   gait = iota
	gaitStopped        // the process does not run (SIGSTOP); all clocks do
	gaitSuspended      // the machine sleeps: wall and suspended time move, monotonic time stands
	gaitDozing         // the same, and the wall clock stands as well until it is set
	gaitPaused         // a hypervisor stopped the machine: nothing moves (breaks A3)
	gaitCount
)

// simClock is the three clocks of one machine. Readings are computed from the last change of gait, never
// summed up, so that looking at a clock does not change it.
type simClock struct {
	gait               gait
	blind              bool          // this system does not tell how long it was suspended
	ppm                int64         // rate error
	since              time.Duration // true time of the last change
	mono, wall, asleep time.Duration // readings at that time
}

func (c *simClock) local(d time.Duration) time.Duration {
	return d + time.Duration(int64(d)*c.ppm/1_000_000)
}

func (c *simClock) readings(now time.Duration) (mono, wall, asleep time.Duration) {
	d := c.local(now - c.since)
	mono, wall, asleep = c.mono, c.wall, c.asleep
	switch c.gait {
	case gaitRunning, gaitStopped:
		mono, wall = mono+d, wall+d
	case gaitSuspended:
		wall, asleep = wall+d, asleep+d
	case gaitDozing:
		asleep += d
	case gaitPaused:
	}
	return mono, wall, asleep
}

func (c *simClock) read(now time.Duration) instant {
	mono, wall, asleep := c.readings(now)
	if c.blind {
		asleep = 0
	}
	return backend.InstantAt(mono, wall, asleep)
}

func (c *simClock) monotonic(now time.Duration) time.Duration {
	mono, _, _ := c.readings(now)
	return mono
}

// change sets another gait, and the wall clock by a step.
func (c *simClock) change(now time.Duration, g gait, step time.Duration) {
	c.mono, c.wall, c.asleep = c.readings(now)
	c.since, c.gait = now, g
	c.wall += step
}

// takes returns how much true time a clock that runs needs for d of its own.
func (c *simClock) takes(d time.Duration) time.Duration {
	return d - time.Duration(int64(d)*c.ppm/(1_000_000+c.ppm)) + 1
}

// host is a machine: clocks, a place in the network, and the process that runs on it.
type host struct {
	w       *world
	id      int
	clock   simClock
	rate    int64 // of the clock, as it was made
	wrong   int64 // by how much a fault has changed that
	timers  []*localTimer
	freezes [gaitCount]int // reasons why nothing runs here
	frozen  bool
	stalled []func() // what came meanwhile
	proc    *process

	cutTo, cutFrom, slow, drop int           // network faults under way
	outage                     time.Duration // true time when the host itself was last not itself
	slept, stepped             time.Duration // true time when it last slept, and when its wall clock was set
	stale                      int           // reasons why it reads from a server that nobody tells anything
	old                        answer        // which then answers this
}

func (h *host) instant() instant { return h.clock.read(h.w.now) }

// run does f now, or when the machine runs again.
func (h *host) run(f func()) {
	if h.frozen {
		h.stalled = append(h.stalled, f)
		return
	}
	f()
}

// freeze stops everything on the machine, or lets one reason for that go. Of several, the one that stops
// most clocks gives them their gait.
func (h *host) freeze(g gait, n int) {
	h.freezes[g] += n
	now := gaitRunning
	for g, reasons := range h.freezes {
		if reasons > 0 {
			now = gait(g)
		}
	}
	h.clock.change(h.w.now, now, 0)
	h.outage = h.w.now
	h.frozen = now != gaitRunning
	if !h.frozen {
		h.thaw()
	}
}

// pace changes the rate of the clocks. Timers are told: they count by them.
func (h *host) pace(ppm int64) {
	h.clock.change(h.w.now, h.clock.gait, 0)
	h.wrong += ppm
	h.clock.ppm = h.rate + min(max(h.wrong, -700_000), 3_000_000)
	h.outage = h.w.now
	for _, t := range h.timers {
		if !t.dead {
			t.arm()
		}
	}
}

func (h *host) thaw() {
	late := h.stalled
	h.stalled = nil
	// Whoever was ready to run may run first.
	h.w.rnd.Shuffle(len(late), func(i, j int) { late[i], late[j] = late[j], late[i] })
	for i, f := range late {
		if h.frozen {
			h.stalled = append(h.stalled, late[i:]...)
			return
		}
		f()
	}
}

// localTimer is a timer on a machine's monotonic clock, as all timers of Go are.
type localTimer struct {
	h    *host
	due  time.Duration // monotonic
	f    func()
	dead bool
}

func (h *host) after(d time.Duration, f func()) *localTimer {
	t := &localTimer{h: h, due: h.clock.monotonic(h.w.now) + max(d, 0), f: f}
	t.arm()
	if len(h.timers) == cap(h.timers) {
		h.timers = slices.DeleteFunc(h.timers, func(t *localTimer) bool { return t.dead })
	}
	h.timers = append(h.timers, t)
	return t
}

func (t *localTimer) arm() {
	w := t.h.w
	left := t.due - t.h.clock.monotonic(w.now)
	w.at(w.now+t.h.clock.takes(max(left, 0)), t.fire)
}

func (t *localTimer) fire() {
	if t.dead {
		return
	}
	t.h.run(func() {
		switch {
		case t.dead:
		case t.h.clock.monotonic(t.h.w.now) < t.due:
			t.arm() // the clock stood still for a while
		default:
			t.dead = true
			t.f()
		}
	})
}

func (t *localTimer) stop() {
	if t != nil {
		t.dead = true
	}
}
