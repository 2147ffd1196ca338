//go:build unix

package bench

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// measureHerd counts what one handover costs the store while many candidates wait, each in a session of its own: requests,
// and on Consul the entries in the servers' log, which is what all of them have to agree on and write to disk. What keeps
// the sessions alive does not count on etcd and Consul; on ZooKeeper it falls into few of the handovers, which are told.
func measureHerd(t *testing.T, r *run) {
	for _, m := range r.matches() {
		if m.store != "etcd" && m.store != "Consul" && m.store != "ZooKeeper" {
			continue
		}
		var few, most herd // ours
		for _, waiting := range pick(r, []int{3}, []int{10, 100, 1000}) {
			ours := measureOneHerd(t, r, m.ours, waiting)
			theirs := measureOneHerd(t, r, m.theirs[0], waiting)
			if few.requests == nil {
				few = ours
			}
			most = ours
			line := row{Measure: "herd", Case: fmt.Sprintf("%d waiting", waiting), Store: m.store, Peer: m.theirs[0].name}
			last := waiting == 1000
			line.Counts = true
			requests := line
			requests.Unit, requests.Ours, requests.Theirs = "requests per handover", ours.requests, theirs.requests
			if last && m.store != "Consul" {
				requests.Target = "independent of the number that waits"
				requests.Met = verdict(most.requests.median() <= 1.5*few.requests.median()+1)
			}
			r.table.add(requests)
			if m.store == "Consul" {
				entries := line
				entries.Unit, entries.Ours, entries.Theirs = "raft entries per handover", ours.entries, theirs.entries
				if last {
					entries.Target = "≥ 10 × fewer"
					entries.Met = verdict(entries.ratio(0.5) <= 0.1)
				}
				r.table.add(entries)
			}
			took := line
			took.Unit, took.Ours, took.Theirs = "ms", ours.took, theirs.took
			r.table.add(took)
		}
	}
}

// herd is what handovers among a crowd cost.
type herd struct{ requests, entries, took figures }

func measureOneHerd(t *testing.T, r *run, s system, waiting int) (h herd) {
	ttl := 60 * time.Second // few keep-alives
	if s.store == "etcd" {
		ttl = time.Hour // and few looks in case that a watch fell silent, one per TTL and session
	}
	repeats := pick(r, 2, 10)
	st := r.store(s.store)
	m, p := st.meter(t, st.at("", ttl))
	p.NoUpkeep = true
	c, sessions := newCrowd(t), []session(nil)
	defer func() { c.end(sessions...) }()
	for i := range waiting + repeats {
		p.Name = fmt.Sprintf("candidate-%d", i)
		session, err := s.open(p)
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, session)
		c.stand(session, fmt.Sprintf("bench/herd/%s-%d", s.slug(), waiting))
	}
	if c.lead(1, patience) != 1 {
		t.Fatalf("%s: nobody leads; %s", s.id(), c.complaint())
	}
	<-c.led
	m.calm(t, pick(r, 20*time.Millisecond, 100*time.Millisecond), 30)
	for range repeats {
		m.start(t)
		var entries int64
		if st.entries != nil {
			entries = st.entries(t)
		}
		began := time.Now()
		c.leave <- struct{}{}
		select {
		case at := <-c.led:
			h.took = append(h.took, float64(at.Sub(began))/float64(time.Millisecond))
		case <-time.After(patience):
			t.Fatalf("%s: nobody leads %v after a resignation; %s", s.id(), patience, c.complaint())
		}
		m.calm(t, pick(r, 20*time.Millisecond, 100*time.Millisecond), 30)
		h.requests = append(h.requests, m.stop(t))
		if st.entries != nil {
			h.entries = append(h.entries, float64(st.entries(t)-entries))
		}
	}
	return h
}

// calm waits until requests come no faster than they do at rest: until the most in five windows of time is not less than
// in the five before. It gives up after some number of windows.
func (m *meter) calm(t testing.TB, window time.Duration, windows int) {
	const look = 5
	var seen []float64
	for range windows {
		seen = append(seen, m.over(t, window))
		if n := len(seen); n >= 2*look {
			if slices.Max(seen[n-look:]) >= slices.Max(seen[n-2*look:n-look]) {
				return
			}
		}
	}
}
