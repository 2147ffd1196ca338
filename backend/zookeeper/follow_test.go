package zookeeper

import (
	"errors"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
)

// told is one event that a candidate may be told of.
type told struct {
	own  bool
	kind zk.EventType
}

func TestWhatEventsTell(t *testing.T) {
	left, lost := told{false, zk.EventNodeDeleted}, told{true, zk.EventNodeDeleted}
	here, before := &wire{}, &wire{}
	for name, c := range map[string]struct {
		crowd  bool
		seen   *wire // where its own node was
		events []told
		want   outcome
	}{
		"the one before left":                   {false, here, []told{left}, hasLeftUs},
		"its own was seen elsewhere":            {false, before, []told{left}, hasLeft},
		"its own was never seen":                {false, nil, []told{left}, hasLeft},
		"its own was deleted before":            {false, here, []told{lost, left}, mayDiffer},
		"its own was deleted after":             {false, here, []told{left, lost}, mayDiffer},
		"its own was changed":                   {false, here, []told{{true, zk.EventNodeDataChanged}}, mayDiffer},
		"the one before was changed":            {false, here, []told{{false, zk.EventNodeDataChanged}}, mayDiffer},
		"nobody watches any more":               {false, here, []told{{false, zk.EventNotWatching}}, mayDiffer},
		"a new connection":                      {false, before, []told{{false, zk.EventSession}, {true, zk.EventSession}}, nothing},
		"a new connection, after that it left":  {false, before, []told{{true, zk.EventSession}, left}, hasLeft},
		"a new connection, and seen again":      {false, here, []told{{true, zk.EventSession}, left}, hasLeftUs},
		"somebody came or went":                 {true, here, []told{left}, mayDiffer},
		"a new connection, where others are so": {true, here, []told{{false, zk.EventSession}}, mayDiffer},
	} {
		s := &session{wire: here}
		n := &neighbours{next: true, crowd: c.crowd, woken: make(chan struct{}, 1)}
		for _, ev := range c.events {
			e := &n.before
			if ev.own {
				e = &n.own
			}
			n.heard(e, ev.kind)
		}
		if got, conn := s.told(n, c.seen); got != c.want || conn != here || len(n.woken) != 1 {
			t.Errorf("%s: %d, want %d; woken %d times, want once", name, got, c.want, len(n.woken))
		}
	}
}

func TestWhichGrantAWinMayGoBy(t *testing.T) {
	const s = time.Second
	for name, c := range map[string]struct {
		sent, ttl time.Duration
		now       backend.Instant
		want      bool
	}{
		"none":              {0, 0, at(100 * s), false},
		"new":               {100 * s, 16 * s, at(100 * s), true},
		"of late":           {100 * s, 16 * s, at(104*s - 1), true},
		"old":               {100 * s, 16 * s, at(104 * s), false},
		"worth enough":      {100 * s, 8 * s, at(101 * s), true},
		"worth little":      {100 * s, 8*s - 1, at(101 * s), false},
		"old by one clock":  {100 * s, 16 * s, backend.InstantAt(101*s, 1000*time.Hour+200*s, 0), false},
		"the machine slept": {100 * s, 16 * s, backend.InstantAt(101*s, 1000*time.Hour+101*s, 5*s), false},
	} {
		session := &session{timeout: 16 * s}
		if c.ttl > 0 {
			session.earned(backend.Grant{Sent: at(c.sent), TTL: c.ttl})
			session.earned(backend.Grant{Sent: at(c.sent - s), TTL: 16 * s}) // whose answer came later
		}
		if grant, got := session.atHand(c.now); got != c.want || grant.TTL != c.ttl {
			t.Errorf("%s: %v of %+v, want %v", name, got, grant, c.want)
		}
	}
}

// A session that was given up, for what it left behind or because it expired, wins nothing.
func TestNobodyWinsOnASessionThatIsOver(t *testing.T) {
	b := &Backend{}
	for _, s := range []*session{{b: b, over: true}, {b: b, doomed: true}} {
		s.timeout = 15 * time.Second
		c := &candidacy{session: s}
		if err := b.crown(c, backend.Grant{Sent: backend.Now(), TTL: s.timeout}); !errors.Is(err, errSessionLost) || c.leads {
			t.Errorf("over %t, doomed %t: %v, and leads: %t", s.over, s.doomed, err, c.leads)
		}
	}
}

// A grant that is a while old already is moved back no further than to a tenth of the TTL.
func TestAWinIsMovedIntoStepOnlyWhileItIsYoung(t *testing.T) {
	const ttl = 100 * time.Second
	now := backend.Now()
	for age, want := range map[time.Duration]bool{0: true, ttl / 40: true, ttl / 5: false} {
		b := &Backend{}
		s := &session{b: b, timeout: ttl, over: false, guard: time.NewTimer(time.Hour)}
		s.beat = backend.Grant{Sent: now.Add(-age - ttl/20), TTL: ttl - ttl/20}
		c := &candidacy{session: s}
		got := backend.Grant{Sent: now.Add(-age), TTL: ttl}
		if err := b.crown(c, got); err != nil {
			t.Fatal(err)
		}
		if moved := c.grant != got; moved != want {
			t.Errorf("%v old: moved %t, want %t", age, moved, want)
		}
		s.guard.Stop()
	}
}
