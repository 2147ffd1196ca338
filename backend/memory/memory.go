package memory

import (
	"fmt"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/retry"
)

const (
	// DefaultTTL is the time to live of a session's leases where WithTTL names none.
	DefaultTTL = 15 * time.Second
	// MaxValueLen is the longest value that Campaign and Proclaim take, in bytes.
	MaxValueLen = 1 << 20
)

// Option configures a session. A nil Option is ignored.
type Option func(*config)

type config struct {
	ttl time.Duration
}

// WithTTL sets the time to live of the session's leases. It must be positive. The default is
// DefaultTTL.
func WithTTL(ttl time.Duration) Option {
	return func(c *config) { c.ttl = ttl }
}

var _ backend.Backend = (*Backend)(nil)

// Backend is one session of a store in memory. Its methods are safe for concurrent use. Apart from
// Campaign and Observe none of them blocks.
type Backend struct {
	store  *store
	ttl    time.Duration
	closed chan struct{} // closed by Close

	session // guarded by store.mu
}

// session is what a Backend has with the store. The store's mutex guards it, so that a fault that was
// ordered holds for every call that reaches the store later.
type session struct {
	ended     bool
	mine      map[string]*record // the candidacy under way or the lease held, by key
	leftovers map[string]*record // what was given up but may still stand in the store, by key
	faults    faults
}

// New makes an empty store and its first session. It fails if an option is out of range.
func New(opts ...Option) (*Backend, error) {
	return open(&store{keys: make(map[string]*entry)}, DefaultTTL, opts)
}

// Peer opens another session on the same store, with the TTL of b unless an option says otherwise. It
// fails if an option is out of range. It works after Close as well: the store outlives its sessions.
func (b *Backend) Peer(opts ...Option) (*Backend, error) {
	return open(b.store, b.ttl, opts)
}

func open(s *store, ttl time.Duration, opts []Option) (*Backend, error) {
	c := config{ttl: ttl}
	for _, opt := range opts {
		if opt != nil {
			opt(&c)
		}
	}
	if c.ttl <= 0 {
		return nil, retry.Permanent(fmt.Errorf("memory: TTL is %v, must be positive", c.ttl))
	}
	return &Backend{
		store:  s,
		ttl:    c.ttl,
		closed: make(chan struct{}),
		session: session{
			mine:      make(map[string]*record),
			leftovers: make(map[string]*record),
		},
	}, nil
}

// TTL is the time to live that the session asks for, and is granted.
func (b *Backend) TTL() time.Duration { return b.ttl }

// Calls returns how many calls all sessions of the store have made so far, those included that
// failed, hung or had to wait. The package documentation says what a call is.
func (b *Backend) Calls() int64 { return b.store.calls.Load() }

// Close ends the session as [backend.Backend] describes, at once; the error is always nil. Only Cut is
// in its way: what a cut session has in the store's queue stays there until it expires.
func (b *Backend) Close() error {
	s := b.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.ended {
		return nil
	}
	b.ended = true
	close(b.closed)
	if b.faults.cut != nil {
		return nil
	}
	var abandoned []*record
	for _, rec := range b.mine {
		if rec.standing && !rec.held {
			abandoned = append(abandoned, rec)
		}
	}
	for _, rec := range b.leftovers {
		abandoned = append(abandoned, rec)
	}
	if len(abandoned) > 0 {
		s.calls.Add(1) // a session ends in one request
	}
	now := time.Now()
	for _, rec := range abandoned {
		s.remove(rec, now)
	}
	return nil
}

// checkValue refuses a value that is too large. The error is permanent.
func checkValue(value []byte) error {
	if len(value) > MaxValueLen {
		return retry.Permanent(fmt.Errorf("value has %d bytes, at most %d are allowed", len(value), MaxValueLen))
	}
	return nil
}
