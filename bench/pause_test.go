//go:build unix

package bench

import (
	"fmt"
	"testing"
	"time"
)

// measurePause stops the leader's process for three TTLs, while another candidate takes over, and lets it go on. From then
// on it asks its own API before each write, as fast as it can, until that says no.
func measurePause(t *testing.T, r *run) {
	const limit = 30 * time.Second // more than anybody needs to notice
	writes := r.each(t, func(t *testing.T, s system) (pairs figures) {
		ttl := r.ttl(s.store)
		st := r.store(s.store)
		for i := range pick(r, 1, 3) {
			key := fmt.Sprintf("bench/pause/%s-%d", s.slug(), i)
			self := startChild(t, s, st.at("leader", ttl), key, limit)
			c := challenge(t, s, st.at("challenger", ttl), key)
			stale, n := pause(t, self, 3*ttl)
			c.since()
			self.Kill()
			c.end()
			pairs = append(pairs, float64(n), float64(stale)/float64(time.Millisecond))
		}
		return pairs
	})
	for _, m := range r.matches() {
		for i, line := range []row{
			{Measure: "guarded writes after a pause of 3 × TTL", Unit: "", Target: "0, in every run"},
			{Measure: "says that it leads after a pause of 3 × TTL", Unit: "ms"},
		} {
			line.Store, line.Peer = m.store, m.theirs[0].name
			line.Ours, line.Theirs = every(writes[m.ours.id()], i), every(writes[m.theirs[0].id()], i)
			if i == 0 {
				line.Met = verdict(len(line.Ours) > 0 && line.Ours.quantile(1) == 0)
			}
			if line.Ours.quantile(1) != 0 && !t.Failed() {
				t.Errorf("on %s, ours wrote after a pause: %v", m.store, line.Ours)
			}
			line.Note = onEtcd(m)
			r.table.add(line)
		}
	}
}

// every returns every second value, from the one with index i.
func every(f figures, i int) (half figures) {
	for ; i < len(f); i += 2 {
		half = append(half, f[i])
	}
	return half
}
