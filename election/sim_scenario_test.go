package election

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// profile is what a store documents about itself, as far as an election can feel it.
type profile struct {
	name        string
	queue       bool          // candidates queue in the store; else they are woken and try
	early       bool          // the token is given when joining the queue, not when winning
	kept        bool          // the grant of a win is the last keep-alive's, not the check's
	stretch     int           // how many TTLs pass before the store ends a lease that is not renewed
	granularity time.Duration // with which it notices
	lockDelay   time.Duration // after an expiry nobody may win for this long
	loseTail    bool          // a failover forgets the writes acknowledged last (breaks A1)
	mute        bool          // it does not tell a holder of its loss
}

var profiles = []profile{
	{name: "memory", queue: true, stretch: 1},
	{name: "etcd", queue: true, early: true, kept: true, stretch: 1, granularity: 500 * time.Millisecond},
	{name: "zookeeper", queue: true, early: true, stretch: 1, granularity: time.Second},
	{name: "consul", stretch: 2, lockDelay: time.Second},
	{name: "redis", stretch: 1, loseTail: true, mute: true},
	{name: "postgres", stretch: 1},
}

// assumption is one of those that the promise of a single valid term rests on; see safety.md, section 5.
type assumption uint8

const (
	holds   assumption = iota
	breaks1            // acknowledged writes survive
	breaks2            // no lease ends early
	breaks3            // the local clock counts, at the right rate
	breaks5            // nobody edits the record
)

// faultKind is one kind of trouble, or of wish.
type faultKind uint8

const (
	faultCut          faultKind = iota // nothing passes between a host and the store
	faultCutTo                         // requests are lost
	faultCutFrom                       // answers are lost: every acknowledgement is in doubt
	faultSlow                          // messages take up to a TTL
	faultDrop                          // every other message is lost
	faultCrash                         // the process is gone, another starts later
	faultCrashAll                      // all processes are
	faultStop                          // SIGSTOP
	faultSuspend                       // the machine sleeps
	faultDoze                          // the machine sleeps, and its wall clock with it
	faultStep                          // the wall clock is set
	faultWobble                        // the wall clock is set, and set right again
	faultRate                          // all clocks of a machine run at up to twice the rate, or half of it
	faultStoreDown                     // the store does not answer
	faultFailover                      // another server takes over: a pause, and leases start anew
	faultDenied                        // the store refuses permission
	faultReadOnly                      // the store is full: it answers, and keeps alive, and writes nothing
	faultRegrant                       // the store grants another TTL from now on
	faultRefused                       // one host's calls fail for good
	faultSilent                        // watches tell nothing
	faultRepeat                        // watches tell things twice, late, and in any order
	faultStale                         // a host reads from a server that is cut off from the others, and was behind before
	faultCloseBackend                  // the backend is closed under its election
	faultPause                         // a hypervisor pauses the machine
	faultLoseTail                      // another server takes over and does not know the last writes
	faultRestore                       // the store is restored from a backup, with its tokens
	faultEarly                         // the store ends the holder's lease early
	faultJump                          // the store's clock is set forward: all leases end
	faultRevoke                        // an operator ends somebody's session
	faultDelete                        // an operator deletes the record
	faultEdit                          // a foreign hand takes the record over
	faultScribble                      // a foreign hand changes the record's value
	faultCount
)

const (
	wishResign   = faultCount + iota // the candidate asks to step down
	wishLeave                        // it leaves for good, and another campaign begins later
	wishBreak                        // the body leaves the loop, or lead returns
	wishProclaim                     // it has another value to tell
	wishConfirm                      // it wants the store asked
	wishWatch                        // a listener comes or goes
	wishCount
)

var faultNames = [...]string{
	"cut", "cut to", "cut from", "slow", "drop", "crash", "crash all", "stop", "suspend", "doze", "step", "wobble", "rate",
	"store down", "failover", "denied", "read-only", "regrant", "refused", "silent", "repeat", "stale", "close", "vm pause",
	"lose tail", "restore", "early", "jump", "revoke", "delete", "edit", "scribble",
	"resign", "leave", "break", "proclaim", "confirm", "watch",
}

func (k faultKind) breaks() assumption {
	switch k {
	case faultPause, faultRate:
		return breaks3
	case faultLoseTail, faultRestore:
		return breaks1
	case faultEarly, faultJump, faultRevoke:
		return breaks2
	case faultDelete, faultEdit:
		return breaks5
	default:
		return holds
	}
}

// shakes reports whether a fault keeps a host's process from running, or its clocks from telling the time: what
// is asked of it on time is not asked then. No trouble with the network or the store is an excuse.
func (k faultKind) shakes() bool {
	switch k {
	case faultStop, faultSuspend, faultDoze, faultStep, faultWobble, faultRate, faultPause:
		return true
	default:
		return false
	}
}

// fault is one thing planned: what, when, for how long, where.
type fault struct {
	kind    faultKind
	at, dur time.Duration
	host    int
	n       int64
}

func (f fault) String() string {
	return fmt.Sprintf("{%q host %d at %.3fs for %.3fs, %d}", faultNames[f.kind], f.host, f.at.Seconds(), f.dur.Seconds(), f.n)
}

// scenario is all that a run follows from.
type scenario struct {
	seed       uint64
	profile    profile
	ttl        time.Duration
	granted    time.Duration // by the store, when asked for ttl
	candidates int
	clocks     []struct {
		ppm    int64
		offset time.Duration
		blind  bool
	}
	trust    bool // all assumptions hold
	wants    wants
	storePPM int64
	chaos    time.Duration
	faults   []fault
	snap     int  // once in how many messages the moment of arrival is chosen with malice
	lossy    int  // once in how many messages one is lost though nothing is wrong
	weak     bool // its observations go back in time
	planted  plant
}

// wants are the options of all candidates; a negative one is left to its default.
type wants struct {
	margin, drain, drainLimit, pause time.Duration
	limit                            int // of failures in a row; 0 is none
}

func (s scenario) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %s, TTL %v (granted %v), %d candidates with %+v, chaos for %v, %d things planned\n",
		s.seed, s.profile.name, s.ttl, s.granted, s.candidates, s.wants, s.chaos, len(s.faults))
	for _, f := range s.faults {
		fmt.Fprintf(&b, "    %v\n", f)
	}
	return b.String()
}

// newScenario draws a scenario. The schedule has a source of chance of its own, so that dropping a part
// of it leaves the rest as it was.
func newScenario(seed uint64) scenario {
	r := rand.New(rand.NewPCG(seed, 1))
	pick := func(ds ...time.Duration) time.Duration { return ds[r.IntN(len(ds))] }
	s := scenario{
		seed:       seed,
		profile:    profiles[r.IntN(len(profiles))],
		ttl:        pick(2*time.Second, 5*time.Second, 15*time.Second),
		candidates: 2 + r.IntN(4),
		snap:       []int{3, 10, 1000}[r.IntN(3)],
		lossy:      []int{20, 200, 100_000}[r.IntN(3)],
	}
	if r.IntN(100) == 0 {
		s.candidates = 20
	}
	s.granted = s.ttl
	s.weak = r.IntN(4) == 0
	s.trust = r.IntN(2) == 0
	s.wants = wants{-1, -1, -1, -1, 0}
	if r.IntN(3) == 0 {
		some := func(from, to int) time.Duration {
			if r.IntN(2) == 0 {
				return -1
			}
			return s.ttl * time.Duration(from+r.IntN(to-from+1)) / 100
		}
		s.wants = wants{some(5, 25), some(0, 30), some(20, 400), some(0, 200), r.IntN(2) * (2 + r.IntN(6))}
	}
	if r.IntN(4) == 0 {
		s.granted = s.ttl * time.Duration(80+r.IntN(60)) / 100
	}
	// Rates are at most 1 % apart, the store's own included.
	s.storePPM = r.Int64N(10_001) - 5_000
	for range s.candidates {
		c := struct {
			ppm    int64
			offset time.Duration
			blind  bool
		}{r.Int64N(10_001) - 5_000, time.Duration(r.Int64N(int64(100 * time.Hour))), r.IntN(4) == 0}
		s.clocks = append(s.clocks, c)
	}
	s.chaos = s.ttl * time.Duration(6+r.IntN(15))
	palette := make([]faultKind, 0, faultCount)
	for k := range faultCount {
		if k.breaks() != holds && s.trust || k == faultLoseTail && !s.profile.loseTail {
			continue
		}
		if r.IntN(3) == 0 {
			palette = append(palette, k)
		}
	}
	for k := wishResign; k < wishCount; k++ {
		if r.IntN(2) == 0 {
			palette = append(palette, k)
		}
	}
	if len(palette) == 0 {
		palette = append(palette, faultCrash)
	}
	for range 4 + r.IntN(40) {
		s.faults = append(s.faults, fault{
			kind: palette[r.IntN(len(palette))],
			at:   time.Duration(r.Int64N(int64(s.chaos))),
			dur:  time.Duration(r.Int64N(int64(s.ttl))) * time.Duration([]int{1, 1, 2, 4}[r.IntN(4)]) / 2,
			host: r.IntN(s.candidates),
			n:    r.Int64(),
		})
	}
	slices.SortStableFunc(s.faults, func(a, b fault) int { return cmp.Compare(a.at, b.at) })
	return s
}
