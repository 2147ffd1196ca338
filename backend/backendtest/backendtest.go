// Package backendtest is the conformance suite of package backend: what the interface promises, as tests.
// A backend, ours or a stranger's, passes it or is not one.
//
// A backend's own test fills in a [Harness] and calls [Run]:
//
//	func TestConformance(t *testing.T) {
//		backendtest.Run(t, backendtest.Harness{
//			Open:   func(t testing.TB, ttl time.Duration) backend.Backend { … },
//			MinTTL: 2 * time.Second,
//			Depose: func(t testing.TB, key string) { … },
//			…
//		})
//	}
//
// The suite runs on real stores and the real clock: it waits for events, with deadlines that are far
// longer than a healthy store needs, and a short pause never decides whether a case passes. It also
// runs in virtual time, with an Around that makes a testing/synctest bubble of each case. Every case
// uses keys of its own, so that what a store remembers, or another run, is not in its way.
//
// The suite cannot see everything. Let TestMain end with goleak, so that a goroutine that outlives its
// call is noticed. Test beside it what only your store knows: how its errors are told apart, and what a
// lost connection does. And as a near store answers at once, show with slow answers (through a proxy,
// say) that a Grant counts from the request: the cases that wait for an expiry then notice.
package backendtest

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// Harness tells the suite how to work with one kind of store. Open and MinTTL are required. A field that
// is left empty declares that the backend cannot do something: Run logs all of that at its start, and
// the cases that need it are skipped with the reason.
type Harness struct {
	// Open opens another session, with a client of its own where the store has clients, on the same
	// store as every other call in the case. It fails t if it cannot. The suite closes the session in
	// a cleanup that it registers afterwards; what Open registers with t.Cleanup (closing the client)
	// therefore runs after that. A session that was killed is closed as well.
	Open func(t testing.TB, ttl time.Duration) backend.Backend

	// MinTTL is the shortest TTL that the store grants. Cases that wait for a lease to run out use it.
	MinTTL time.Duration

	// TTL is for all other cases: no lease should run out in them. It must be at least three times
	// MinTTL, and long enough that half of it is an age for any single call. The default is the
	// larger of 30 s and three times MinTTL.
	TTL time.Duration

	// MaxValue is the longest value that the store takes, in bytes. 0 declares that it is not known.
	MaxValue int

	// Calls returns how many requests all sessions of the store have made so far. nil declares that
	// they cannot be counted.
	Calls func() int64

	// IdleCalls is how many calls a session may make per TTL while nothing happens: its keep-alive and
	// one safety read. 0 means none.
	IdleCalls int

	// Depose removes the leader's record of key by the store's own means, as an operator would: the
	// sessions are left alone. It returns when the record is gone, and fails t if it cannot. nil
	// declares that the store has no such means.
	Depose func(t testing.TB, key string)

	// Kill ends a session that Open made without a release, as a crash or a cut network would: nothing
	// of it reaches the store any more. Its methods may hang until their context ends, or fail; its
	// Close must still return. nil declares that this cannot be done.
	Kill func(t testing.TB, b backend.Backend)

	// Around runs one case: it calls run, once, with a T of the case. nil calls it directly. A
	// testing/synctest bubble is made with synctest.Test, and a store that must live inside it here.
	Around func(t *testing.T, run func(t *testing.T))

	// Parallel lets cases run beside each other, except the one that counts calls. It is not for bubbles.
	Parallel bool

	// Features are the abilities that the interface leaves to the store.
	Features Features
}

// Features are abilities that a store may lack. The zero value declares that it lacks them all.
type Features struct {
	// FIFO: candidates win in the order in which they came.
	FIFO bool
	// Expiry: a lease that nobody renews ends when its TTL has run out, and not before.
	Expiry bool
	// WaitTellsLoss: Lease.Wait returns ErrLost when the record was removed, and does not just wait for
	// its context.
	WaitTellsLoss bool
	// Tells: the sessions implement backend.LeaderTeller, and their leases backend.LossTeller.
	Tells bool
}

// Run runs the whole suite, each case as a subtest of t.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if h.Open == nil {
		t.Fatal("backendtest: Harness.Open is nil, must open a session")
	}
	if h.MinTTL <= 0 {
		t.Fatalf("backendtest: Harness.MinTTL is %v, must be positive", h.MinTTL)
	}
	if h.TTL == 0 {
		h.TTL = max(30*time.Second, 3*h.MinTTL)
	}
	if h.TTL < 3*h.MinTTL {
		t.Fatalf("backendtest: Harness.TTL is %v, must be at least three times MinTTL, which is %v", h.TTL, h.MinTTL)
	}
	if h.Around == nil {
		h.Around = func(t *testing.T, run func(t *testing.T)) { run(t) }
	}
	missing := h.missing()
	for _, a := range abilities {
		if missing[a] {
			t.Logf("declared as unable: %s", a)
		}
	}
	run := rand.Text()[:8]
	for i, c := range cases() {
		key := fmt.Sprintf("backendtest/%s/%d", run, i)
		t.Run(c.name, func(t *testing.T) {
			for _, need := range c.needs {
				if missing[need] {
					t.Skipf("needs what the harness leaves out: %s", need)
				}
			}
			if h.Parallel && !c.alone {
				t.Parallel()
			}
			h.Around(t, func(t *testing.T) { c.run(newKit(t, h, key)) })
		})
	}
}

// ability is something that a Harness can declare as missing, in the words of the report.
type ability string

const (
	canCount  ability = "calls are counted (Calls)"
	canDepose ability = "an operator can remove a leader (Depose)"
	canKill   ability = "a session can die without a release (Kill)"
	hasMax    ability = "the longest value is known (MaxValue)"
	hasFIFO   ability = "candidates win in the order in which they came (Features.FIFO)"
	hasExpiry ability = "a lease that is not renewed ends with its TTL (Features.Expiry)"
	tellsLoss ability = "Wait tells of a removed record (Features.WaitTellsLoss)"
	tells     ability = "loss and leaders are told without a goroutine that waits (Features.Tells)"
)

var abilities = [...]ability{canCount, canDepose, canKill, hasMax, hasFIFO, hasExpiry, tellsLoss, tells}

func (h Harness) missing() map[ability]bool {
	return map[ability]bool{
		canCount:  h.Calls == nil,
		canDepose: h.Depose == nil,
		canKill:   h.Kill == nil,
		hasMax:    h.MaxValue <= 0,
		hasFIFO:   !h.Features.FIFO,
		hasExpiry: !h.Features.Expiry,
		tellsLoss: !h.Features.WaitTellsLoss,
		tells:     !h.Features.Tells,
	}
}

// testCase is one promise. Its name is a sentence that must be true.
type testCase struct {
	name    string
	run     func(k *kit)
	needs   []ability
	alone   bool // not beside other cases, even if those are parallel
	telling bool // run again on what the store tells by itself
}
