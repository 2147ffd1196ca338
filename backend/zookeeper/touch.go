package zookeeper

import (
	"time"

	"github.com/hustings-go/hustings/backend"
)

// touches tells since when the leader of the ensemble must have known that the session was alive. See the
// package comment for the argument.
type touches struct {
	tick  time.Duration
	ripe  backend.Instant // the latest that counts
	young []touch         // those that may not have been passed on to the leader yet, oldest first
}

// touch is a request of any kind that was answered.
type touch struct{ sent, answered backend.Instant }

// thinning is the part of a tick that one touch stands for, so that few need to be remembered.
const thinning = 8

// greet notes a greeting that was answered: the leader itself vouched for the session.
func (ts *touches) greet(sent backend.Instant) { ts.ripe, ts.young = sent, nil }

func (ts *touches) add(sent, answered backend.Instant) {
	if n := len(ts.young); n > 0 && sent.Since(ts.young[n-1].sent) < ts.tick/thinning {
		return
	}
	ts.ripen(answered)
	ts.young = append(ts.young, touch{sent, answered})
}

// at tells from when a write counts that is sent now, once it is acknowledged.
func (ts *touches) at(now backend.Instant) backend.Instant {
	ts.ripen(now)
	return ts.ripe
}

func (ts *touches) ripen(now backend.Instant) {
	for len(ts.young) > 0 {
		t := ts.young[0]
		// The clock that counted least, because here it is more time that would be dangerous.
		if now.Since(t.answered)-now.Skew(t.answered) < ts.tick {
			return
		}
		if t.sent.Since(ts.ripe) > 0 {
			ts.ripe = t.sent
		}
		ts.young = ts.young[1:]
	}
}
