package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
	"github.com/hustings-go/hustings/backend/internal/flight"
	"github.com/hustings-go/hustings/retry"
)

// session is one session in ZooKeeper with a client of its own, which pings for it for as long as it runs.
// The client would go on with another session when this one has expired, and send there what was meant
// for here; so it is sealed against that, and ended. Fields that change are guarded by Backend.mu, but for
// those below mu.
type session struct {
	b      *Backend
	conn   *zk.Conn
	events <-chan zk.Event // closed when the client has ended

	members   map[*candidacy]struct{}
	leftovers map[*candidacy]struct{}
	next      map[*candidacy]struct{} // of the members, those who have only a leader before them
	proofs    *flight.Rounds[*proof]  // of terms that renew
	beat      backend.Grant           // of the renewal that others keep step with
	guard     *time.Timer             // looks after terms that nobody renews, and after leftovers
	standby   *time.Timer             // keeps a grant ready for who is next
	outage    *time.Timer             // runs while there is no connection
	over      bool                    // takes no more requests
	doomed    bool                    // grants nothing any more, and ends when what it granted is over
	expired   bool                    // the store said so: nothing of it is there any more, nor can be
	lost      chan struct{}           // closed with over
	ended     chan struct{}           // closed when the client has ended

	ready chan struct{} // closed when the session was granted

	mu      sync.Mutex
	sealed  bool // makes no more connections
	wire    *wire
	id      int64
	timeout time.Duration // granted; the shortest of those that were
	history touches
	latest  backend.Grant      // that a write has brought
	watches map[subject][]*ear // that were set, or are being set, and who listens
	watched bool               // a watch was set, ever
	dialErr error              // the latest
	longest int                // answer that the client has room for
	cramped bool               // a request needs more room than there is
	roomy   bool               // there is room for any
	ignored bool               // the latest greeting was not answered, not yet at least
	greets  backend.Instant    // since then, while greetings are ignored
}

// attend returns the session that is current, and makes one if there is none.
func (b *Backend) attend(ctx context.Context) (*session, error) {
	for {
		b.mu.Lock()
		if s := b.current; s != nil {
			b.mu.Unlock()
			return s, nil
		}
		f := b.opening.Board(ctx)
		b.mu.Unlock()
		if err := f.Await(ctx); err != nil {
			return nil, err
		}
	}
}

// open starts a client and makes its session the current one.
func (b *Backend) open(ctx context.Context) error {
	s := &session{
		b:         b,
		members:   make(map[*candidacy]struct{}),
		leftovers: make(map[*candidacy]struct{}),
		next:      make(map[*candidacy]struct{}),
		watches:   make(map[subject][]*ear),
		lost:      make(chan struct{}),
		ended:     make(chan struct{}),
		ready:     make(chan struct{}),
		history:   touches{tick: b.tick},
		longest:   usualAnswer,
	}
	s.proofs = flight.NewRounds(b.ttl/gatherPart, s.proveAll)
	made := make(chan struct{})
	conn, events, err := zk.Connect(b.servers, b.ttl,
		zk.WithDialer(s.dial), zk.WithMaxConnBufferSize(usualValue+maxRest), zk.WithMaxBufferSize(usualAnswer), zk.WithHostProvider(&hosts{stop: s.lost}), zk.WithLogger(silence{}), zk.WithLogInfo(false),
		zk.WithEventCallback(func(ev zk.Event) { // because the channel drops what does not fit
			<-made
			s.heard(ev)
		}))
	if err != nil {
		return err
	}
	s.conn, s.events = conn, events
	guarding := context.WithoutCancel(ctx)
	s.guard = time.AfterFunc(time.Hour, func() { b.patrol(guarding, s) })
	s.guard.Stop()
	s.standby = time.AfterFunc(time.Hour, func() { b.keepReady(guarding, s) })
	s.standby.Stop()
	s.outage = time.AfterFunc(time.Hour, s.cutOff)
	s.outage.Stop()
	b.mu.Lock()
	b.sessions[s] = struct{}{}
	b.mu.Unlock()
	close(made)
	if err := s.begin(ctx); err != nil {
		b.mu.Lock()
		b.end(s)
		b.mu.Unlock()
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.over {
		return errSessionLost
	}
	b.current = s
	return nil
}

// begin waits for the session, and authenticates it.
func (s *session) begin(ctx context.Context) error {
	timer := time.NewTimer(s.b.bound)
	defer timer.Stop()
	select {
	case <-s.ready:
	case <-timer.C:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.dialErr != nil {
			return fmt.Errorf("%w within %v: %w", errNoAnswer, s.b.bound, s.dialErr)
		}
		return fmt.Errorf("%w within %v", errNoAnswer, s.b.bound)
	case <-ctx.Done():
		return calls.Ended(ctx)
	}
	if granted, least := s.ttl(), MinTicks*s.b.tick; granted < least {
		return retry.Permanent(fmt.Errorf("the server grants sessions of %v at most, and %d ticks are needed, which are %v: raise its maxSessionTimeout, or tell its tick with WithTick", granted, MinTicks, least))
	}
	for _, c := range s.b.credentials {
		_, err := ask(ctx, s, func(conn *zk.Conn) (struct{}, error) { return struct{}{}, conn.AddAuth(c.scheme, c.secret) })
		if err != nil {
			return fmt.Errorf("authenticating with scheme %q: %w", c.scheme, err)
		}
	}
	return nil
}

// dial makes one connection for the client, unless the session takes no more of them.
func (s *session) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	s.mu.Lock()
	sealed := s.sealed
	s.mu.Unlock()
	if sealed {
		return nil, errSessionLost
	}
	conn, err := s.b.dial(network, address, min(timeout, s.b.bound))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.dialErr = err
		return nil, err
	}
	if s.sealed {
		return nil, errors.Join(errSessionLost, conn.Close())
	}
	s.wire = &wire{Conn: conn, s: s, heard: backend.Now(), set: make(chan struct{})}
	return s.wire, nil
}

// heard takes the events of the session. It is called by the client and must not block.
func (s *session) heard(ev zk.Event) {
	if ev.Type != zk.EventSession {
		s.fire(subject{path: ev.Path}, ev.Type)
		s.fire(subject{path: ev.Path, children: true}, ev.Type)
		return
	}
	switch ev.State {
	case zk.StateDisconnected:
		s.outage.Reset(s.b.ttl / 3) // if the server only said nothing, the client has waited for two thirds
	case zk.StateHasSession:
		s.outage.Stop()
		select {
		case <-s.ready:
		default:
			close(s.ready) // only this goroutine of the client's does
		}
	case zk.StateExpired:
		s.b.mu.Lock()
		s.b.bury(s)
		s.b.mu.Unlock()
	default:
	}
}

func (s *session) greeted(hello backend.Instant, timeout time.Duration, id int64) {
	if id == 0 {
		return // refused: the client tells
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id, s.ignored = id, false
	if s.timeout == 0 || timeout < s.timeout {
		s.timeout = timeout
	}
	s.history.greet(hello)
}

// greeting notes that the client greets a server.
func (s *session) greeting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ignored {
		s.ignored, s.greets = true, backend.Now()
	}
}

// unheard reports whether the client has greeted for that long without being answered: a greeting that arrives keeps the session
// alive all the same.
func (s *session) unheard(long time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ignored && backend.Now().Since(s.greets) >= long
}

// touch notes that something sent then has been answered by now.
func (s *session) touch(sent, now backend.Instant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history.add(sent, now)
}

// promise tells what a write that is sent now is worth once it is acknowledged.
func (s *session) promise(now backend.Instant) backend.Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return backend.Grant{Sent: now, TTL: s.timeout - now.Since(s.history.at(now))}
}

// ttl is the session timeout that was granted.
func (s *session) ttl() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.timeout
}

// connection is the one that was made last, or nil.
func (s *session) connection() *wire {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wire
}

func (s *session) identity() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

// bury notes that s is gone from the store, and with it all that it wrote. b.mu must be held.
func (b *Backend) bury(s *session) {
	s.expired = true
	clear(s.leftovers)
	b.end(s)
}

// end closes the session in the store, if it can, and has the client end. b.mu must be held.
func (b *Backend) end(s *session) {
	if s.over {
		return
	}
	s.over = true
	close(s.lost)
	s.guard.Stop()
	s.standby.Stop()
	if b.current == s {
		b.current = nil
	}
	s.mu.Lock()
	s.sealed = true
	s.mu.Unlock()
	go func() {
		defer s.outage.Stop()
		s.conn.Close() // waits for the answer for a second at most
		s.cut()
		for range s.events { // closed when the client's goroutines have ended
		}
		b.mu.Lock()
		delete(b.sessions, s)
		b.mu.Unlock()
		close(s.ended)
	}()
}

// settle ends s if nobody stands on it any more and nobody will, because the Backend is closed, and waits
// for it.
func (b *Backend) settle(s *session) {
	if !b.retire(s) {
		return
	}
	timer := time.NewTimer(b.bound + grace)
	defer timer.Stop()
	select {
	case <-s.ended:
	case <-timer.C:
	}
}

// retire is settle without waiting. It reports whether s is over.
func (b *Backend) retire(s *session) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.calls.Closed() && len(s.members) == 0 {
		b.end(s)
	}
	return s.over
}
