package zookeeper

import (
	"errors"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// Servers may be configured differently, and each connection grants anew.
func TestTheShortestTimeoutThatWasGrantedCounts(t *testing.T) {
	const s = time.Second
	session := &session{history: touches{tick: 2 * s}}
	for _, c := range []struct{ granted, want time.Duration }{{10 * s, 10 * s}, {20 * s, 10 * s}, {5 * s, 5 * s}, {10 * s, 5 * s}} {
		session.greeted(at(0), c.granted, 7)
		if got := session.ttl(); got != c.want {
			t.Errorf("after %v was granted: %v, want %v", c.granted, got, c.want)
		}
	}
}

// A proof before which nothing was heard for long is worth next to nothing, and no term goes by it.
func TestWhatAProofIsWorth(t *testing.T) {
	const s = time.Second
	session := &session{timeout: 15 * s}
	for left, want := range map[time.Duration]error{15 * s: nil, 15 * s / MinTicks: nil, 15*s/MinTicks - 1: errWornOut, 0: errWornOut, -s: errWornOut} {
		if _, err := session.worth(&proof{grant: backend.Grant{Sent: at(0), TTL: left}}, nil); !errors.Is(err, want) {
			t.Errorf("%v are left: %v, want %v", left, err, want)
		}
	}
}

// The identity is how a node is found whose creation was not answered, among those of all processes.
func TestNoTwoCandidaciesShareAnIdentity(t *testing.T) {
	const enough = 32 // hexadecimal digits, as of a UUID
	seen := map[string]bool{}
	for range 100 {
		c := newCandidacy("key")
		if seen[c.id] || len(c.id) != enough {
			t.Fatalf("the identity %q after %d others", c.id, len(seen))
		}
		seen[c.id] = true
	}
}
