//go:build unix

package bench

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hustings-go/hustings/internal/servers"
)

// store is a server that runs, as all systems on it find it.
type store struct {
	name  string
	place place
	// read is how many requests the server has got in all; nil where they are counted by the clients.
	read func(t testing.TB) int64
	// entries is how many entries the servers' log has got in all; nil where a write is a request.
	entries func(t testing.TB) int64
}

// world starts each store when it is first asked for, and ends them with its test.
type world struct {
	t      testing.TB
	mu     sync.Mutex
	stores map[string]*store
}

func newWorld(t testing.TB) *world { return &world{t: t, stores: make(map[string]*store)} }

func (w *world) store(name string) *store {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stores[name] == nil {
		w.stores[name] = start(w.t, name)
	}
	return w.stores[name]
}

func start(t testing.TB, name string) *store {
	t.Helper()
	switch name {
	case "etcd":
		server := servers.StartEtcd(t)
		return &store{name: name, place: place{Addr: server.Endpoint()}}
	case "Consul":
		server := servers.StartConsul(t)
		return &store{name: name, place: place{Addr: server.Endpoint()}, entries: func(t testing.TB) int64 {
			return field(t, server.Ctl("info"), "last_log_index = ")
		}}
	case "ZooKeeper":
		server := servers.StartZooKeeper(t)
		return &store{name: name, place: place{Addr: server.Endpoint()}, read: func(t testing.TB) int64 {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			text, err := server.Ask(ctx, "mntr")
			if err != nil {
				t.Fatal(err)
			}
			return field(t, text, "zk_packets_received\t")
		}}
	case "Redis":
		server := servers.StartRedis(t)
		return &store{name: name, place: place{Addr: server.Endpoint()}}
	case "Kubernetes":
		server := servers.StartKubeAPIServer(t)
		return &store{name: name, place: place{Addr: server.Endpoint(), Token: server.Token(), CA: server.CA()}}
	}
	t.Fatalf("no store is called %q", name)
	return nil
}

// at is the place of a candidate.
func (s *store) at(name string, ttl time.Duration) place {
	p := s.place
	p.Name, p.TTL = name, ttl
	return p
}

// meter counts requests.
type meter struct {
	s        *store
	calls    *atomic.Int64
	cost     int64 // of a reading, in requests
	readings int64
	began    int64
}

// meter counts the requests of the sessions that are opened at the place that it returns; where the server counts, those
// of everybody.
func (s *store) meter(t testing.TB, p place) (*meter, place) {
	t.Helper()
	m := &meter{s: s, calls: new(atomic.Int64)}
	p.calls = m.calls
	if s.read != nil {
		m.cost = math.MaxInt64
		for range 5 { // as a last word of those who have left may come amid some
			first := s.read(t)
			m.cost = min(m.cost, s.read(t)-first)
		}
	}
	return m, p
}

// total is the number of requests up to now, from wherever it began, without those of the meter.
func (m *meter) total(t testing.TB) int64 {
	t.Helper()
	if m.s.read == nil {
		return m.calls.Load()
	}
	m.readings++
	return m.s.read(t) - m.readings*m.cost
}

func (m *meter) start(t testing.TB) {
	t.Helper()
	m.began = m.total(t)
}

// stop returns how many requests there were since start.
func (m *meter) stop(t testing.TB) float64 {
	t.Helper()
	return float64(m.total(t) - m.began)
}

// over returns the requests per second in a window of time that begins now.
func (m *meter) over(t testing.TB, window time.Duration) float64 {
	t.Helper()
	first, began := m.total(t), time.Now()
	<-time.After(window)
	return float64(m.total(t)-first) / time.Since(began).Seconds()
}

// atRest is over, again where nothing came: a window may be shorter than the time by which a machine is late.
func (m *meter) atRest(t testing.TB, window time.Duration) (rate float64) {
	t.Helper()
	for turn := 0; turn < 5 && rate == 0; turn++ {
		rate = m.over(t, window)
	}
	return rate
}

// field is the number that follows prefix in text.
func field(t testing.TB, text, prefix string) int64 {
	t.Helper()
	_, rest, found := strings.Cut(text, prefix)
	rest, _, _ = strings.Cut(rest, "\n")
	n, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
	if !found || err != nil {
		t.Fatalf("%s is not told: %v", fmt.Sprintf("%q", prefix), err)
	}
	return n
}
