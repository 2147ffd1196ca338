//go:build unix

package bench

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// system is one way to lead on one store.
type system struct {
	name  string // of the library's type, as the table shows it
	store string
	ours  bool
	// open makes what one process would have: connections, and an identity.
	open func(p place) (session, error)
}

// place is where a session goes, and how. It is handed to child processes as JSON.
type place struct {
	Addr  string
	TTL   time.Duration
	Name  string // of the candidate
	Token string // kube: of the operator
	CA    []byte // kube: what the server's certificate is checked against
	// Shared is for many elections in one session, where the peer's default is a session for each.
	Shared bool
	// Observing has all candidates follow who leads, too, where the system can.
	Observing bool
	// NoUpkeep leaves out of calls what keeps sessions alive, on etcd and Consul.
	NoUpkeep bool

	calls *atomic.Int64 // of those that are counted at the client: see store.requests
}

// session is what one process of a system has.
type session interface {
	// stand waits until it leads key, calls lead, and gives the key up when that returns. It returns when it was
	// given up, or when ctx has ended while it waited.
	stand(ctx context.Context, key string, lead func(reign)) error
	// close ends the session. Nobody may stand any more, but for those that could not be stopped otherwise.
	close()
}

// reign is one time of leading, as the system's own API tells it.
type reign struct {
	// leads is what there is to ask before a write.
	leads func() bool
	// over is closed when the system says so; nil where it never does.
	over <-chan struct{}
}

// told makes leads of a channel that is closed at the end.
func told(over <-chan struct{}) func() bool {
	return func() bool {
		select {
		case <-over:
			return false
		default:
			return true
		}
	}
}

// match is one of ours beside what it is compared with on a store.
type match struct {
	store  string
	ours   system
	theirs []system
}

// matches are all comparisons, store by store.
func matches() []match {
	return []match{
		{"etcd", oursOn("etcd"), []system{nativeEtcd()}},
		{"Consul", oursOn("Consul"), []system{nativeConsul()}},
		{"ZooKeeper", oursOn("ZooKeeper"), []system{nativeZooKeeper()}},
		{"Redis", oursOn("Redis"), []system{nativeRedis(time.Second)}},
		{"Kubernetes", oursOn("etcd"), []system{nativeKube()}},
	}
}

// systems are all there are, each once.
func systems() []system {
	var all []system
	for _, m := range matches() {
		if m.ours.store == m.store {
			all = append(all, m.ours)
		}
		all = append(all, m.theirs...)
	}
	return all
}

// mustOpen opens a session that is closed with the test.
func mustOpen(t testing.TB, s system, p place) session {
	t.Helper()
	session, err := s.open(p)
	if err != nil {
		t.Fatalf("%s on %s: %v", s.name, s.store, err)
	}
	t.Cleanup(session.close)
	return session
}

// id names a system among all.
func (s system) id() string { return s.store + "/" + s.name }

// slug is id as a part of a key.
func (s system) slug() string {
	return strings.ToLower(strings.NewReplacer("/", "-", " ", "-", ".", "-").Replace(s.id()))
}
