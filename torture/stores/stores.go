//go:build unix

package stores

import (
	"context"
	"fmt"
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
	// Expiry is the longest time from a leader's last sign of life to the end of its lease, in a store that is
	// well.
	Expiry time.Duration
	// Recovery is the longest time that a store which was down needs, once its processes run again, until it
	// serves and has ended the leases that nobody renews.
	Recovery time.Duration
	// Members is how many servers make its cluster.
	Members int
	// Open opens a session by way of addrs. The function that it returns closes what it opened.
	Open func(ctx context.Context, addrs []string, ttl time.Duration) (b backend.Backend, done func(), err error)
	// Start starts a cluster that ends with the test.
	Start func(t testing.TB, members int) Cluster
}

// Cluster is a store that runs. Its methods return errors, where those of faults.Harness fail the test, because
// an operator may well come at a time when the store cannot be reached.
type Cluster interface {
	Members() []faults.Server
	// Records lists the candidates for key, the leader first.
	Records(ctx context.Context, key string) ([]Record, error)
	// Delete removes a record, Revoke ends its session, as an operator would.
	Delete(ctx context.Context, r Record) error
	Revoke(ctx context.Context, r Record) error
	// MoveLeader has another member lead the cluster.
	MoveLeader(ctx context.Context) error
	// Traces lists everything in the store that candidates make, records and sessions.
	Traces(ctx context.Context) ([]string, error)
}

// Record is a candidate as it stands in the store.
type Record struct {
	Path    string
	Token   uint64 // what its term has, or would have, for a fencing token
	Session string
}

// Named returns the store of that name.
func Named(name string) (Store, error) {
	for _, s := range []Store{etcdStore()} {
		if s.Name == name {
			return s, nil
		}
	}
	return Store{}, fmt.Errorf("there is no store %q here", name)
}
