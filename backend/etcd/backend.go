package etcd

import (
	"math/rand/v2"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
	"github.com/hustings-go/hustings/backend/internal/flight"
)

// maxRequest bounds each single request to etcd, where a third of the TTL does not bound it lower.
const maxRequest = 5 * time.Second

var (
	_ backend.LeaderTeller = (*Backend)(nil)
	_ backend.LossTeller   = (*Lease)(nil)
)

// Backend is one session with an etcd cluster: one lease, on which any number of elections stand. Its
// methods are safe for concurrent use.
type Backend struct {
	client  *clientv3.Client
	ttl     time.Duration
	name    string
	bound   time.Duration // of each single request
	born    time.Time     // what untilLook counts from: within a TTL before it was made
	watches *watches
	calls   calls.Open
	rounds  *flight.Rounds[*asked]

	// mu guards everything below and all fields of sessions and candidacies that change. It is never
	// held across a request.
	mu        sync.Mutex
	vigils    map[*vigil]*session   // of each leader the session, of each observer nil
	observers int                   // of vigils
	look      *time.Timer           // the next look of those who observe; nil before the first
	standing  map[string]*candidacy // who campaigns for a key, or holds it
	current   *session              // the one that new candidacies join, or nil
	opening   *flight.Slot          // the request that makes the next one
	limit     int                   // how many operations of a kind the server takes at once
	surveys   surveys
	sessions  map[*session]struct{} // all that may still have records in the store
}

// New makes a Backend that talks to etcd through client. It sends nothing: the session begins with the
// first Campaign. The client stays the caller's to close, after the Backend; a closed client ends every
// call with a permanent error. A nil client and a TTL that etcd cannot keep are refused with an error
// that says what is allowed.
//
// Each single request is bounded by a third of the TTL, at most 5 s, whatever the client's own timeouts are.
func New(client *clientv3.Client, opts ...Option) (*Backend, error) {
	if err := validateClient(client); err != nil {
		return nil, err
	}
	b := &Backend{
		client:   client,
		ttl:      DefaultTTL,
		vigils:   make(map[*vigil]*session),
		standing: make(map[string]*candidacy),
		sessions: make(map[*session]struct{}),
		limit:    maxOps,
	}
	for _, opt := range opts {
		if opt.apply != nil {
			opt.apply(b)
		}
	}
	if err := validateTTL(b.ttl); err != nil {
		return nil, err
	}
	b.bound = min(b.ttl/3, maxRequest)
	b.born = time.Now().Add(-rand.N(b.ttl)) // so that processes that are started together do not look together
	b.opening = flight.New(b.open, 0)
	b.rounds = flight.NewRounds(b.ttl/gatherPart, b.askAll)
	b.rounds.Room, b.rounds.Pause = b.hasRoom, b.crowdPause
	b.watches = &watches{client: client, bound: b.bound}
	return b, nil
}

// TTL returns the time to live that is asked of etcd for the session's lease. It does not block.
func (b *Backend) TTL() time.Duration { return b.ttl }

// Close ends the session: no new calls are taken, waiting Campaigns withdraw and end with ErrClosed, and
// so do Observe and every Wait. Leases that are held stay held, and can still be renewed and resigned; the
// session's lease is revoked with the last of them. With none held it is revoked before Close returns,
// which takes at most a few seconds, bounded by the requests' own bound; a lease that could not be revoked
// expires within its TTL. Close always returns nil, and may be called again. The client is left open.
func (b *Backend) Close() error {
	// A withdrawing Campaign takes two requests at most, and then ends the session if it was the last
	// on it. Whoever consumes an Observe may take longer than that, and is not waited for.
	patience := time.NewTimer(2*b.bound + grace)
	defer patience.Stop()
	if !b.calls.Close(patience.C) {
		return nil
	}
	b.mu.Lock()
	for _, c := range b.standing {
		b.unwatch(c)
	}
	open := make([]*session, 0, len(b.sessions))
	for s := range b.sessions {
		open = append(open, s)
	}
	b.mu.Unlock()
	for _, s := range open {
		b.settle(b.client.Ctx(), s)
	}
	return nil
}
