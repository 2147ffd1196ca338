package zookeeper

import (
	"net"
	"slices"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
	"github.com/hustings-go/hustings/backend/internal/flight"
)

// maxRequest bounds each single request to ZooKeeper, where a third of the TTL does not bound it lower.
const maxRequest = 5 * time.Second

var (
	_ backend.LeaderTeller = (*Backend)(nil)
	_ backend.LossTeller   = (*Lease)(nil)
)

// Backend is one session with a ZooKeeper ensemble, on which any number of elections stand. Its methods
// are safe for concurrent use.
type Backend struct {
	servers     []string
	ttl, tick   time.Duration
	bound       time.Duration // of each single request
	root, name  string
	dial        zk.Dialer
	credentials []credential
	acl         []zk.ACL

	calls calls.Open

	// mu guards everything below and all fields of sessions and candidacies that change, but for what a
	// session's own lock guards. It is never held across a request.
	mu       sync.Mutex
	standing map[string]*candidacy // who campaigns for a key, or holds it
	current  *session              // the one that new candidacies join, or nil
	opening  *flight.Slot          // what makes the next one
	sessions map[*session]struct{} // all whose client still runs
}

// New makes a Backend for the ensemble of servers, each a host, or host:port. It sends nothing: the session begins
// with the first Campaign or Observe. It makes the client itself, and ends it with the session: in this
// client session and connection are one, its callbacks can be set only where it is made, and a grant can
// only be had from watching its wire (see the package comment). Settings that go-zookeeper's Connect
// would take are options here: WithDialer, WithAuth. The client logs nothing; what it would have said is in the errors.
//
// No servers, a TTL that is too short for the servers' ticks, and options that cannot be are refused with
// an error that says what is allowed. Each single request is bounded by a third of the TTL, at most 5 s.
func New(servers []string, opts ...Option) (*Backend, error) {
	b := &Backend{
		servers:  slices.Clone(servers),
		ttl:      DefaultTTL,
		tick:     DefaultTick,
		root:     DefaultRoot,
		dial:     net.DialTimeout,
		acl:      zk.WorldACL(zk.PermAll),
		standing: make(map[string]*candidacy),
		sessions: make(map[*session]struct{}),
	}
	for _, opt := range opts {
		if opt.apply != nil {
			opt.apply(b)
		}
	}
	if err := b.validate(); err != nil {
		return nil, err
	}
	b.servers = zk.FormatServers(b.servers)
	b.bound = min(b.ttl/3, maxRequest)
	b.opening = flight.New(b.open, 0)
	return b, nil
}

// TTL returns the session timeout that is asked of ZooKeeper. It does not block.
func (b *Backend) TTL() time.Duration { return b.ttl }

// Close ends the session: no new calls are taken, waiting Campaigns withdraw and end with ErrClosed, and
// so do Observe and every Wait. Leases that are held stay held, and can still be renewed and resigned; the
// session is closed with the last of them. With none held it is closed, and the client has ended, before
// Close returns, which takes at most a few seconds, bounded by the requests' own bound; a session that could not be closed in the
// store expires within its TTL. Close always returns nil, and may be called again.
func (b *Backend) Close() error {
	// A withdrawing Campaign takes two requests at most, and then ends the session if it was the last on it.
	patience := time.NewTimer(2*b.bound + grace)
	defer patience.Stop()
	if !b.calls.Close(patience.C) {
		return nil
	}
	b.mu.Lock()
	open := make([]*session, 0, len(b.sessions))
	for s := range b.sessions {
		open = append(open, s)
	}
	b.mu.Unlock()
	for _, s := range open {
		b.settle(s)
	}
	return nil
}
