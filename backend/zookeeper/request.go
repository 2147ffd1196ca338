package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
)

// cut closes the connection, so that the client looks for another server, and all that waits for an answer
// here fails.
func (s *session) cut() {
	if w := s.connection(); w != nil {
		_ = w.Close()
	}
}

// cutUnlessHeard closes the connection if nothing came over it since then.
func (s *session) cutUnlessHeard(since backend.Instant) {
	if w := s.connection(); w != nil && w.quiet(since) {
		_ = w.Close()
	}
}

// ask makes one request under a bound of its own. The client knows no contexts: a request whose caller has
// gone goes on by itself, until it is answered, or until the bound, when the connection is taken for dead; if
// nothing at all has come, at half of it, so that there is time to find a better server.
func ask[T any](ctx context.Context, s *session, request func(*zk.Conn) (T, error)) (T, error) {
	if err := s.usable(ctx); err != nil {
		var none T
		return none, err
	}
	return send(ctx, s, request)
}

// usable tells why there is no point in a request.
func (s *session) usable(ctx context.Context) error {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return calls.Ended(ctx)
	case s.over:
		return errSessionLost
	default:
		return nil
	}
}

// send is ask where the request is made in any case.
func send[T any](ctx context.Context, s *session, request func(*zk.Conn) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var none T
	answered := make(chan answer, 1)
	sent := backend.Now()
	silent := time.AfterFunc(s.b.bound/2, func() { s.cutUnlessHeard(sent) })
	overdue := time.AfterFunc(s.b.bound, s.cut)
	go func() {
		value, err := request(s.conn)
		silent.Stop()
		overdue.Stop()
		if err == nil {
			s.touch(sent, backend.Now())
		}
		answered <- answer{value, err}
	}()
	timer := time.NewTimer(s.b.bound + answerGrace)
	defer timer.Stop()
	select {
	case a := <-answered:
		err, took := s.judge(a.err), backend.Now().Since(sent)
		switch {
		case err != nil && took >= s.b.bound:
			err = fmt.Errorf("%w within %v: %w", errNoAnswer, s.b.bound, err)
		case errors.Is(err, zk.ErrConnectionClosed) && took >= s.b.bound/2: // as nothing came over it
			err = fmt.Errorf("%w within %v: %w", errNoAnswer, s.b.bound/2, err)
		}
		return a.value, err
	case <-timer.C: // there was no connection to be taken for dead
		return none, fmt.Errorf("%w within %v", errNoAnswer, s.b.bound)
	case <-ctx.Done():
		return none, calls.Ended(ctx)
	}
}

// answerGrace is how long a request may take to fail after its connection was closed.
const answerGrace = 100 * time.Millisecond

// judge notes when the store says that the session has expired.
func (s *session) judge(err error) error {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	switch {
	case errors.Is(err, zk.ErrSessionExpired):
		s.b.bury(s)
		return fmt.Errorf("%w: %w", errSessionLost, err)
	case err != nil && s.over:
		return fmt.Errorf("%w: %w", errSessionLost, err)
	default:
		return err
	}
}
