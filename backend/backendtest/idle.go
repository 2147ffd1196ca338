package backendtest

import "time"

// idle counts the calls of a leader that has nothing to do, of a candidate that waits and of an observer.
// The window is half a TTL: long enough that what polls is seen, and over before the leader has to
// renew.
func idle(k *kit) {
	b := k.open()
	l := k.win(b, k.key, "alice")
	waits := k.waiting(l)
	next := k.campaign(k.open(), k.key, "bob")
	o := k.observe(k.open(), k.key)
	o.untilTerm(l, "alice")
	for range 20 { // until all of it is under way, which a store that polls never is
		before := k.h.Calls()
		k.pause(200 * time.Millisecond)
		if k.h.Calls() == before {
			break
		}
	}
	k.renew(l)

	const sessions = 3
	window := k.h.TTL / 2
	perSession := 0
	if k.h.IdleCalls > 0 {
		perSession = k.h.IdleCalls/2 + 1 // as they may fall on both edges of the window
	}
	before := k.h.Calls()
	k.pause(window)
	if n := k.h.Calls() - before; n > int64(sessions*perSession) {
		k.Errorf("%d calls in %v while nothing happened, at most %d are allowed for %d sessions", n, window, sessions*perSession, sessions)
	}
	waits.stillRuns()
	next.stillRuns()
	select {
	case l := <-o.leaders:
		k.Errorf("Observe yielded %+v while nothing happened", l)
	default:
	}
	k.resign(l)
	o.untilTerm(next.must(), "bob")
}
