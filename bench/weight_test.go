//go:build unix

package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/hustings-go/hustings/internal/servers"
)

// measureWeight measures what one election weighs among many in one process and one session, where all lead, and where all
// wait: goroutines, the bytes that live on the heap after a collection, stacks, and sockets. Both sides follow who leads and
// notice a loss, where they can, and each has the goroutine of the code that leads or waits.
func measureWeight(t *testing.T, r *run) {
	ourWeight := make(map[string][2]weight) // that on etcd is wanted twice
	for _, m := range r.matches() {
		for _, size := range sizes(r, m.store) {
			n := size.n
			name := fmt.Sprint(m.ours.id(), n, size.how)
			if _, known := ourWeight[name]; !known {
				ourWeight[name] = weigh(t, r, m.ours, size)
			}
			ours, theirs := ourWeight[name], weigh(t, r, m.theirs[0], size)
			for i, doing := range []string{"leading", "waiting"} {
				o, th := ours[i], theirs[i]
				line := row{Measure: "weight", Case: fmt.Sprintf("%d %s%s", n, doing, size.how), Store: m.store, Peer: m.theirs[0].name}
				line.Note = strings.Join(compact(o.trouble, prefixed("theirs ", th.trouble), onEtcd(m)), "; ")
				for _, part := range []struct {
					unit   string
					of     func(weight) float64
					most   float64
					target string
					counts bool
				}{
					// What a session has for all of them together is a few hundredths for each.
					{"goroutines each", func(w weight) float64 { return w.goroutines }, 2.05, "≤ 2", true},
					{"kB of heap each", func(w weight) float64 { return w.heap / 1000 }, 8, "≤ 8 kB", false},
					{"kB of stacks each", func(w weight) float64 { return w.stacks / 1000 }, 0, "", false},
					{"sockets in all", func(w weight) float64 { return w.sockets }, 100, "none of its own", false},
				} {
					l := line
					l.Unit = part.unit
					l.Ours, l.Theirs = o.figures(part.of), th.figures(part.of)
					l.Counts = part.counts
					if n == 1000 && doing == "leading" && part.target != "" {
						l.Target, l.Met = part.target, verdict(l.Ours.median() <= part.most)
					}
					r.table.add(l)
				}
			}
		}
	}
}

// size is how many elections are weighed.
type size struct {
	n     int
	how   string
	start func(t testing.TB) *store // a server for it alone, if it needs one
}

// sizes are those that a store is asked for. Consul serves a client 200 connections by default, and elections there wait in
// queries that hold one each: so it is asked for as many as it lets in, and for many with that limit lifted.
func sizes(r *run, name string) []size {
	if name != "Consul" {
		return pick(r, []size{{n: 20}}, []size{{n: 1000}, {n: 10000}})
	}
	consul := func(limits map[string]any) func(t testing.TB) *store {
		return func(t testing.TB) *store {
			server := servers.StartConsul(t, servers.ConsulSettings(map[string]any{"limits": limits}))
			return &store{name: name, place: place{Addr: server.Endpoint()}}
		}
	}
	lifted := consul(map[string]any{"http_max_conns_per_client": 0})
	return pick(r, []size{{20, "", lifted}}, []size{
		{1000, ", its limit of connections lifted", lifted},
		{1000, ", its limit of connections as it is", consul(map[string]any{})},
	})
}

// weight is what one of many elections weighs; sockets are of all together.
type weight struct {
	goroutines, heap, stacks, sockets float64
	measured                          bool
	trouble                           string
}

// figures is one part of the weight, if it was measured.
func (w weight) figures(part func(weight) float64) figures {
	if !w.measured {
		return nil
	}
	return figures{part(w)}
}

// weigh returns the weight of n elections that lead, and of n that wait for them.
func weigh(t *testing.T, r *run, s system, size size) (weights [2]weight) {
	n, st := size.n, (*store)(nil)
	if size.start != nil {
		st = size.start(t)
	} else {
		st = r.store(s.store)
	}
	p := st.at("", time.Minute)
	p.Shared, p.Observing = true, true
	var all []session
	c := newCrowd(t)
	defer func() { c.end(all...) }()
	for i := range weights { // leading, then waiting
		p.Name = fmt.Sprintf("process-%d", i)
		still(pick(r, 300*time.Millisecond, 2*time.Second), patience) // of those who were weighed before
		before := scales()
		session, err := s.open(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, session)
		reached, began := n, time.Now()
		for k := range n {
			c.stand(session, fmt.Sprintf("bench/weight/%s/%d-%d", s.slug(), n, k))
			if k%100 == 99 { // not all at once
				<-time.After(50 * time.Millisecond)
			}
		}
		if i == 0 {
			reached = c.lead(n, 2*patience)
			t.Logf("%s: %d of %d lead after %v", s.id(), reached, n, time.Since(began).Round(time.Millisecond))
		}
		still(pick(r, 300*time.Millisecond, 2*time.Second), patience)
		weights[i] = scales().since(before, max(1, reached))
		keepProfiles(t, fmt.Sprintf("weight-%s-%d-%s", s.slug(), n, []string{"leading", "waiting"}[i]))
		if lost := c.began.Load() - int64(reached); lost > 0 {
			weights[i].trouble = fmt.Sprintf("%d were lost or changed hands meanwhile", lost)
		}
		if i == 0 && reached < n {
			weights[i].trouble = fmt.Sprintf("stopped at %d of %d", reached, n)
			if why := c.complaint(); why != "" {
				t.Logf("%s: %s", s.id(), why)
			}
			weights[1].trouble = "not reached"
			return weights
		}
	}
	return weights
}

// keepProfiles keeps what all goroutines do, and what is on the heap, beside the results, if those are to be kept.
func keepProfiles(t *testing.T, name string) {
	t.Helper()
	dir := os.Getenv(envResults)
	if dir == "" {
		return
	}
	for _, kind := range []string{"goroutine", "heap"} {
		file, err := os.Create(filepath.Join(dir, name+"."+kind+".pprof"))
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(pprof.Lookup(kind).WriteTo(file, 0), file.Close())
		if err != nil {
			t.Fatal(err)
		}
	}
}

// still waits until the number of goroutines has not changed much for a while.
func still(long, limit time.Duration) {
	end := time.Now().Add(limit)
	for last, since := runtime.NumGoroutine(), time.Now(); time.Since(since) < long && time.Now().Before(end); {
		<-time.After(50 * time.Millisecond)
		if now := runtime.NumGoroutine(); now > last+last/50 || now < last-last/50 {
			last, since = now, time.Now()
		}
	}
}

// scales tells what the process weighs now, after a collection.
func scales() weight {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what finalizers let go of, too
	runtime.ReadMemStats(&m)
	return weight{goroutines: float64(runtime.NumGoroutine()), heap: float64(m.HeapAlloc), stacks: float64(m.StackInuse), sockets: float64(sockets())}
}

func (w weight) since(before weight, n int) weight {
	each := float64(n)
	return weight{
		measured:   true,
		goroutines: (w.goroutines - before.goroutines) / each,
		heap:       (w.heap - before.heap) / each,
		stacks:     (w.stacks - before.stacks) / each,
		sockets:    w.sockets - before.sockets,
	}
}

// sockets counts those of this process; none where there is no /proc.
func sockets() (n int) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}

// compact leaves out what is empty.
func compact(texts ...string) (some []string) {
	for _, text := range texts {
		if text != "" {
			some = append(some, text)
		}
	}
	return some
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// onEtcd says where ours was measured when that is another store than theirs.
func onEtcd(m match) string {
	if m.ours.store == m.store {
		return ""
	}
	return "on " + m.ours.store
}
