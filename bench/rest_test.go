//go:build unix

package bench

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// measureRest counts requests while nothing happens: one leader and nine followers, each a session of its own; and many
// elections that are held in one session, which is what a process with many shards has.
func measureRest(t *testing.T, r *run) {
	many := pick(r, 20, 1000)
	w := newWorld(t) // of its own, because what else is asked there would count
	all := r.atRest(t, w, restOfTen)
	held := r.atRest(t, w, func(t *testing.T, s system, st *store, ttl, window time.Duration) float64 {
		return restOfMany(t, s, st, many, ttl, window)
	})
	for _, m := range r.matches() {
		ttl := r.restTTL(m.store)
		ours, theirs := m.ours.id(), m.theirs[0].id()
		line := row{
			Measure: "requests at rest", Case: fmt.Sprintf("1 leader and 9 followers, TTL %v", ttl), Store: m.store, Unit: "/s",
			Ours: figures{all[ours]}, Peer: m.theirs[0].name, Theirs: figures{all[theirs]}, Note: onEtcd(m), Counts: true,
		}
		each := 3 / ttl.Seconds() // what keeps a session alive, or proves a key
		switch m.store {
		case "etcd", "Consul":
			line.Target = "3 per TTL and session, 3 per TTL for the key"
			line.Met = verdict(line.Ours.median() <= 11*each*tolerance)
		case "ZooKeeper":
			line.Target = "pings, 3 per TTL and session, and 3 per TTL for the key"
			line.Met = verdict(line.Ours.median() <= 11*each*tolerance)
		case "Redis":
			line.Target = "3 per TTL for the key"
			line.Met = verdict(line.Ours.median() <= each*tolerance)
		}
		r.table.add(line)

		line.Case = fmt.Sprintf("%d held in one session, TTL %v", many, ttl)
		line.Ours, line.Theirs = figures{held[ours]}, figures{held[theirs]}
		line.Target, line.Met = "", ""
		switch m.store {
		case "etcd", "Consul":
			line.Target = "as for one: 6 per TTL"
			line.Met = verdict(line.Ours.median() <= 2*each*tolerance)
		case "Redis":
			line.Target = "one round trip for the renewals of all: 3 per TTL"
			line.Met = verdict(line.Ours.median() <= each*tolerance)
		}
		r.table.add(line)
	}
}

// tolerance is for a window of time that holds one more or less of what comes now and then.
const tolerance = 1.35

// restTTL is that of elections at rest: the default, but for a quick run.
func (r *run) restTTL(store string) time.Duration {
	return pick(r, r.ttl(store), 15*time.Second)
}

// atRest runs f for every system, on all stores at once, but one after the other on each: servers count for everybody.
func (r *run) atRest(
	t *testing.T, w *world, f func(t *testing.T, s system, st *store, ttl, window time.Duration) float64,
) map[string]float64 {
	t.Helper()
	byStore := make(map[string][]system)
	for _, m := range r.matches() {
		for _, s := range append([]system{m.ours}, m.theirs...) {
			known := false
			for _, other := range byStore[s.store] {
				known = known || other.id() == s.id()
			}
			if !known {
				byStore[s.store] = append(byStore[s.store], s)
			}
		}
	}
	var mu sync.Mutex
	all := make(map[string]float64)
	t.Run("stores", func(t *testing.T) {
		for name, systems := range byStore {
			st := w.store(name)
			if st.read == nil { // it does not count for everybody, and is slow to start
				st = r.store(name)
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for _, s := range systems {
					got := f(t, s, st, r.restTTL(name), pick(r, r.restTTL(name)*3/5, 2*r.restTTL(name)))
					mu.Lock()
					all[s.id()] = got
					mu.Unlock()
				}
			})
		}
	})
	return all
}

func restOfTen(t *testing.T, s system, st *store, ttl, window time.Duration) float64 {
	c, m, sessions := newCrowd(t), (*meter)(nil), []session(nil)
	for i := range 10 {
		p := st.at(fmt.Sprintf("candidate-%d", i), ttl)
		if m == nil {
			m, p = st.meter(t, p)
		}
		p.calls = m.calls
		session, err := s.open(p)
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, session)
		c.stand(session, "bench/rest/"+s.slug())
	}
	defer c.end(sessions...)
	if c.lead(1, patience) != 1 {
		t.Fatalf("%s: nobody leads; %s", s.id(), c.complaint())
	}
	<-time.After(2 * time.Second) // until all have queued up
	return m.atRest(t, window)
}

func restOfMany(t *testing.T, s system, st *store, n int, ttl, window time.Duration) float64 {
	m, p := st.meter(t, st.at("holder", ttl))
	p.Shared = true
	session, err := s.open(p)
	if err != nil {
		t.Fatal(err)
	}
	c := newCrowd(t)
	defer c.end(session)
	for i := range n {
		c.stand(session, fmt.Sprintf("bench/rest-many/%s/%d", s.slug(), i))
	}
	if got := c.lead(n, 2*patience); got < n { // more where a term was lost
		t.Errorf("%s: %d of %d elections are held; %s", s.id(), got, n, c.complaint())
	}
	<-time.After(ttl) // until all have found the rhythm in which they share
	return m.atRest(t, window)
}
