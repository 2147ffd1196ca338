package consul

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
	"github.com/hustings-go/hustings/backend/internal/flight"
)

// maxRequest bounds each single request to Consul, where a third of the TTL does not bound it lower. A
// blocking query has the time that it may block on top.
const maxRequest = 5 * time.Second

const (
	// maxBlock is how long Consul lets a query block at most.
	maxBlock = 10 * time.Minute

	// heldBlock is how long a query blocks on a key that is held here, whose proofs tell as well whether it goes on: as long as
	// Consul has it block by default, which what stands between has to bear.
	heldBlock = 5 * time.Minute
)

// defaultName is what a session is called that its user gave no name.
const defaultName = "hustings"

var (
	_ backend.LeaderTeller = (*Backend)(nil)
	_ backend.LossTeller   = (*Lease)(nil)
)

// Backend is one session with a Consul datacenter, on which any number of elections stand. Its methods are
// safe for concurrent use.
type Backend struct {
	client    *api.Client
	ttl       time.Duration
	lockDelay time.Duration
	delaySet  bool
	name      string
	bound     time.Duration // of each single request
	block     time.Duration // of each blocking query that waits for a change
	renewing  time.Duration // of each renewal, with all that goes before it

	maxQueries int           // that block
	turns      chan struct{} // of single requests, see request

	calls    calls.Open
	proofs   *flight.Rounds[*candidacy]
	readings *flight.Rounds[*reading]

	// mu guards everything below and all fields of sessions and candidacies that change. It is never
	// held across a request.
	mu        sync.Mutex
	standing  map[string]*candidacy // who campaigns for a key, or holds it
	windows   map[string]window     // of keys where others were met
	current   *session              // the one that new candidacies join, or nil
	opening   *flight.Slot          // the request that makes the next one
	sessions  map[*session]struct{} // all that may still hold keys in the store
	sights    map[string]*sight     // of the keys that somebody wants to be told of
	querying  map[*sight]struct{}   // those with a query that blocks, at most maxQueries
	lingering map[string]*sight     // of the keys whose query goes on though nobody listens, at most maxLingering
	line      line                  // those that wait for one
	passing   *passing              // the looks at those that have none, or nil
	terms     int                   // that are held
	crowded   bool                  // with too many of them for a query each
}

// New makes a Backend that talks to Consul through client, which also brings the address, TLS, ACL token,
// datacenter, namespace and partition. It sends nothing: the session begins with the first Campaign. The
// client's connections stay the caller's. A nil client, a TTL or a lock-delay that Consul cannot keep, and no queries,
// are refused with an error that says what is allowed.
//
// Each single request is bounded by a third of the TTL, at most 5 s; a renewal, which others wait for too, by
// a tenth, so that one that hangs leaves time for more. The client's HttpClient should have no
// Timeout of its own (api.DefaultConfig sets none): queries block for a TTL when nothing happens, and for five
// minutes on keys that are held here.
func New(client *api.Client, opts ...Option) (*Backend, error) {
	if err := validateClient(client); err != nil {
		return nil, err
	}
	b := &Backend{
		client:    client,
		ttl:       DefaultTTL,
		standing:  make(map[string]*candidacy),
		windows:   make(map[string]window),
		sessions:  make(map[*session]struct{}),
		sights:    make(map[string]*sight),
		querying:  make(map[*sight]struct{}),
		lingering: make(map[string]*sight),
		turns:     make(chan struct{}, maxTurns),

		maxQueries: DefaultMaxQueries,
	}
	for _, opt := range opts {
		if opt.apply != nil {
			opt.apply(b)
		}
	}
	if err := validateTTL(b.ttl); err != nil {
		return nil, err
	}
	if !b.delaySet {
		b.lockDelay = defaultLockDelay(b.ttl)
	}
	if err := validateLockDelay(b.lockDelay); err != nil {
		return nil, err
	}
	if err := validateMaxQueries(b.maxQueries); err != nil {
		return nil, err
	}
	b.bound = min(b.ttl/3, maxRequest)
	b.block = min(b.ttl, maxBlock)
	b.renewing = flight.Attempt(b.ttl, maxRequest)
	b.opening = flight.New(b.open, 0)
	b.proofs = flight.NewRounds(b.ttl/gatherPart, b.proveAll)
	b.readings = flight.NewRounds(b.ttl/gatherPart, b.readAll)
	return b, nil
}

// TTL returns the time to live that is asked of Consul for the session. It does not block.
func (b *Backend) TTL() time.Duration { return b.ttl }

// Close ends the session: no new calls are taken, waiting Campaigns withdraw and end with ErrClosed, and
// so do Observe and every Wait. Leases that are held stay held, and can still be renewed and resigned; the
// session is destroyed with the last of them. With none held it is destroyed before Close returns,
// which takes at most a few seconds, bounded by the requests' own bound; a session that could not be
// destroyed expires. Close always returns nil, and may be called again. The client is left alone.
func (b *Backend) Close() error {
	// A withdrawing Campaign takes a few requests at most, and then ends the session if it was the last on it.
	patience := time.NewTimer(2*b.bound + grace)
	defer patience.Stop()
	returned := b.calls.Close(patience.C)
	b.seeAllOff()
	if !returned {
		return nil
	}
	b.mu.Lock()
	open := make([]*session, 0, len(b.sessions))
	for s := range b.sessions {
		open = append(open, s)
	}
	b.mu.Unlock()
	//nolint:forbidigo // Close has no caller's context, and each request is bounded by itself
	ctx := context.Background()
	for _, s := range open {
		b.settle(ctx, s)
	}
	return nil
}
