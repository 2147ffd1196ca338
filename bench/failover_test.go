//go:build unix

package bench

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// measureFailover measures how long it takes, as a multiple of the TTL, from the SIGKILL of the process that leads to the
// first line of the next leader's own code. The moment is random within the renewal interval.
func measureFailover(t *testing.T, r *run) {
	all := r.each(t, func(t *testing.T, s system) (multiples figures) {
		ttl := r.ttl(s.store)
		for i := range pick(r, 1, 5) {
			multiples = append(multiples, float64(failover(t, r, s, ttl, i))/float64(ttl))
		}
		return multiples
	})
	for _, m := range r.matches() {
		line := row{
			Measure: "failover after SIGKILL", Case: fmt.Sprintf("TTL %v", r.ttl(m.store)), Store: m.store, Unit: "× TTL",
			Target: "the store's expiry and one handover", Ours: all[m.ours.id()], Peer: m.theirs[0].name, Theirs: all[m.theirs[0].id()],
		}
		switch m.store {
		case "Consul":
			line.Target = "≤ 2.1 × TTL"
			line.Met = verdict(line.Ours.quantile(1) <= 2.1)
		case "Kubernetes":
			line.Target, line.Note = "", onEtcd(m)
		default:
			// The expiry of all of them is a TTL after the last renewal, and what the store adds to it.
			line.Met = verdict(line.Ours.quantile(1) <= 1+slack(m.store, r.ttl(m.store)))
		}
		r.table.add(line)
	}
}

// slack is what a store adds to the TTL by itself, as the README's table tells, and 50 ms for a handover, as a share of it.
func slack(store string, ttl time.Duration) float64 {
	late := 50 * time.Millisecond
	switch store {
	case "etcd":
		late += 500 * time.Millisecond
	case "ZooKeeper":
		late += 2 * 200 * time.Millisecond // ticks
	}
	return float64(late) / float64(ttl)
}

func failover(t *testing.T, r *run, s system, ttl time.Duration, i int) time.Duration {
	st, key := r.store(s.store), fmt.Sprintf("bench/failover/%s-%d", s.slug(), i)
	self := startChild(t, s, st.at("leader", ttl), key, 0)
	c := challenge(t, s, st.at("challenger", ttl), key)
	<-time.After(ttl/2 + rand.N(ttl/2))
	began := time.Now()
	self.Kill()
	took := c.since().Sub(began)
	c.end()
	return took
}
