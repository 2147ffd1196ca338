//go:build unix

package stores

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/internal/faults"
)

// Store is a store that can be tortured.
type Store struct {
	Name string
	// TTL is what candidates ask for: the shortest that the store grants, or near it, so that much happens.
	TTL time.Duration
	// Expiry is the longest time from a leader's last sign of life until somebody else can have its key, in a
	// store that is well.
	Expiry time.Duration
	// Recovery is the longest time that a store which was down needs, once its processes run again, until it
	// serves, and what its leases then last longer than Expiry says, for those where they start over.
	Recovery time.Duration
	// Members is how many servers make its cluster.
	Members int
	// Forgets says that the store may lose what it acknowledged when it fails over (assumption A1). Its Cluster
	// is then a Forgetful, which tells when that can have been.
	Forgets bool
	// WentBack reports whether Observe ended because the store showed an older leader after a newer one.
	WentBack func(error) bool
	// Standing is how many traces n candidates leave in the store while one of them leads and the others wait.
	Standing func(n int) int
	// Open opens a session by one or more ways. The function that it returns closes what it opened.
	Open func(ctx context.Context, ways []Way, ttl time.Duration) (b backend.Backend, done func(), err error)
	// Start starts a cluster that ends with the test.
	Start func(t testing.TB, members int) Cluster
}

// Way is how one client reaches one server: both are host and port, and the same where nothing stands between.
type Way struct{ Server, Addr string }

// Straight are the ways without anything between.
func Straight(endpoints []string) []Way {
	var ways []Way
	for _, endpoint := range endpoints {
		ways = append(ways, Way{endpoint, endpoint})
	}
	return ways
}

// Cluster is a store that runs. Its methods return errors, where those of faults.Harness fail the test, because
// an operator may well come at a time when the store cannot be reached.
type Cluster interface {
	// Members are the servers that faults strike.
	Members() []faults.Server
	// Known lists the servers that client number i is told of: at most n members, so that it can get around one
	// that is down but does not know all; or all members, and then whatever tells which of them leads.
	Known(i, n int) []string
	// Records lists the candidates for key, the leader first.
	Records(ctx context.Context, key string) ([]Record, error)
	// Delete removes a record, Revoke ends its session, as an operator would.
	Delete(ctx context.Context, r Record) error
	Revoke(ctx context.Context, r Record) error
	// MoveLeader has another member lead the cluster. It returns errors.ErrUnsupported where none can.
	MoveLeader(ctx context.Context) error
	// Traces lists everything in the store that candidates make, records and sessions, as long as it is there.
	Traces(ctx context.Context) ([]string, error)
}

// Forgetful is a Cluster of a store that Forgets.
type Forgetful interface {
	// Lapses lists what the failovers so far may have lost.
	Lapses() []Lapse
	// Split keeps from the members that do not lead what the leading one acknowledges from now on, and
	// returns the number of that one.
	Split(ctx context.Context) (leading int, err error)
	// Join undoes Split.
	Join(ctx context.Context) error
}

// Lapse is part of a failover that may have lost what was acknowledged. Times are in nanoseconds since 1970. From is
// when the member that took over is last known to have had all; between Again and Ended the member before may have gone
// on as if it led. That is more than one lapse where it stood still meanwhile. In the first, Again is From.
type Lapse struct{ From, Again, Ended int64 }

// Record is a candidate as it stands in the store.
type Record struct {
	Path    string // "": it waits, and has nothing but its session
	Token   uint64 // what its term has, or would have, for a fencing token; 0 where that is not known before
	Session string
}

// Named returns the store of that name.
func Named(name string) (Store, error) {
	var names []string
	for _, s := range All() {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Store{}, fmt.Errorf("there is no store %q here, only %s", name, strings.Join(names, ", "))
}

// Asked returns the store of that name, or all if it is "".
func Asked(name string) ([]Store, error) {
	if name == "" {
		return All(), nil
	}
	s, err := Named(name)
	return []Store{s}, err
}

// All returns all stores.
func All() []Store {
	return []Store{etcdStore(), consulStore(), zookeeperStore(), redisStore(), sentinelStore()}
}

// around lists n of the members for client number i.
func around(members []faults.Server, i, n int) []string {
	var known []string
	for j := range min(n, len(members)) {
		known = append(known, members[(i+j)%len(members)].Endpoint())
	}
	return known
}

// tookBack is what most backends say when the store went back in time.
func tookBack(err error) bool { return strings.Contains(err.Error(), "back in time") }

// addrs are where ways begin.
func addrs(ways []Way) []string {
	var addrs []string
	for _, w := range ways {
		addrs = append(addrs, w.Addr)
	}
	return addrs
}
