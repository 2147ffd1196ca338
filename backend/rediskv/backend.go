package rediskv

import (
	"crypto/rand"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
	"github.com/hustings-go/hustings/backend/internal/flight"
)

const (
	// maxRequest bounds each single request to Redis, where a third of the TTL does not bound it lower.
	maxRequest = 5 * time.Second

	// grace is how long an acquire may go on after its caller has gone, so that the answer usually still
	// tells what is to be removed.
	grace = time.Second
)

var (
	_ backend.LeaderTeller = (*Backend)(nil)
	_ backend.LossTeller   = (*Lease)(nil)
)

// Backend is one session with Redis: an identity of its own, under which any number of elections stand. Its
// methods are safe for concurrent use.
type Backend struct {
	client  redis.UniversalClient
	scripts scripts
	ttl     time.Duration
	name    string
	holder  string        // the identity in the store: the name, if any, and a random part
	bound   time.Duration // of each single request

	calls   calls.Open
	reads   *flight.Rounds[*reading]
	several bool // servers, or so it may be

	// mu guards everything below and all fields of candidacies that change. It is never held across a
	// request.
	mu          sync.Mutex
	running     map[chan struct{}]struct{} // goroutines, each with what is closed at its end
	standing    map[string]*candidacy      // who campaigns for a key, or holds it
	candidacies uint64                     // how many there have been: the number of the latest
	seen        map[string]*history        // what is known of each key's terms
	line        *line                      // the connection for events, while somebody listens
	enlisting   *round                     // writings that are about to be sent together
	dispatched  <-chan struct{}            // closed when the round that was sent last is answered
	gathering   *batch                     // renewals that are about to be sent together
	air         <-chan struct{}            // closed when the batch that was sent last is answered
	beat        backend.Instant            // when the renewal or win was sent that others fall in with
	apart       bool                       // no two keys can be in one script
}

// New makes a Backend that talks to Redis through client: a *redis.Client, also one for Sentinel, or a
// *redis.ClusterClient. It sends nothing. The client stays the caller's to close, after the Backend; a
// closed client ends every call with a permanent error.
//
// A client whose requests do not end with their context (ContextTimeoutEnabled), that repeats them by itself
// (MaxRetries), or that reads from replicas is refused, as far as its options can be seen: see [Options]. So
// are a nil client and a TTL that cannot be kept.
//
// Each single request is bounded by a third of the TTL, at most 5 s, whatever the client's own timeouts are.
func New(client redis.UniversalClient, opts ...Option) (*Backend, error) {
	if err := validateClient(client); err != nil {
		return nil, err
	}
	b := &Backend{
		client:   client,
		scripts:  newScripts(),
		ttl:      DefaultTTL,
		running:  make(map[chan struct{}]struct{}),
		standing: make(map[string]*candidacy),
		seen:     make(map[string]*history),
	}
	_, alone := client.(*redis.Client)
	b.several, b.apart = !alone, !alone // any other may have keys on several servers
	for _, opt := range opts {
		if opt.apply != nil {
			opt.apply(b)
		}
	}
	if err := validateTTL(b.ttl); err != nil {
		return nil, err
	}
	if err := validateName(b.name); err != nil {
		return nil, err
	}
	b.bound = min(b.ttl/3, maxRequest)
	b.reads = flight.NewRounds(b.gather(), b.readAll)
	b.holder = rand.Text()
	if b.name != "" {
		b.holder = b.name + "/" + b.holder
	}
	return b, nil
}

// TTL returns the time to live of every lease. It does not block.
func (b *Backend) TTL() time.Duration { return b.ttl }

// Close ends the session: no new calls are taken, waiting Campaigns withdraw and end with ErrClosed, and so do
// Observe and every Wait. Leases that are held stay held, and can still be renewed and resigned; there is
// nothing else of the session in the store. Close waits for requests whose callers have gone, which takes
// at most a few seconds, bounded by the requests' own bound. It always returns nil, and may be called
// again. The client is left open.
func (b *Backend) Close() error {
	// A withdrawing Campaign takes two requests at most, which may wait for others.
	patience := time.NewTimer(2*(b.bound+b.gather()) + grace)
	defer patience.Stop()
	if !b.calls.Close(patience.C) {
		return nil
	}
	var waiting []<-chan struct{}
	b.mu.Lock()
	for done := range b.running {
		waiting = append(waiting, done)
	}
	b.mu.Unlock()
	calls.AllDone(waiting, patience.C)
	return nil
}
