package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
)

const (
	// maxChecks is how many terms one transaction proves at most. With the longest keys it then has some 60 kB, of
	// the megabyte that a server takes (jute.maxbuffer).
	maxChecks = 100

	// gatherPart of the TTL is how long proofs wait at most for those before them: a sixth of the time that an
	// election gives an attempt.
	gatherPart = 60
)

// proof asks for a write to the store on the condition that a node is there. The write changes nothing, and wakes nobody
// who watches; but as every write it goes through the leader of the ensemble and a majority.
type proof struct {
	node  string
	grant backend.Grant // what it is worth if it succeeds; set before it is sent
}

// prove makes the proof of c at once, and returns what that is worth; ErrLost when the node is gone.
func (b *Backend) prove(ctx context.Context, c *candidacy) (backend.Grant, error) {
	p := &proof{node: c.path}
	err := c.session.check(ctx, p)
	return c.session.worth(p, err)
}

// proveAmong is prove where there is time to make the proof together with those of other terms. It is sent after
// proveAmong was called.
func (b *Backend) proveAmong(ctx context.Context, c *candidacy) (backend.Grant, error) {
	p := &proof{node: c.path}
	err := c.session.proofs.Ask(ctx, p)
	return c.session.worth(p, err)
}

// worth is what the answer to a proof means to its term.
func (s *session) worth(p *proof, err error) (backend.Grant, error) {
	switch {
	case errors.Is(err, zk.ErrNoNode):
		return backend.Grant{}, backend.ErrLost
	case err != nil:
		return backend.Grant{}, err
	case p.grant.TTL < s.ttl()/MinTicks:
		return backend.Grant{}, fmt.Errorf("%w: %v are left of %v", errWornOut, p.grant.TTL, s.ttl())
	}
	return p.grant, nil
}

// proveAll makes many proofs, in as few transactions as hold them, all sent at once.
func (s *session) proveAll(ctx context.Context, proofs []*proof) []error {
	answers := make([]error, len(proofs))
	var all sync.WaitGroup
	for from := 0; from < len(proofs); from += maxChecks {
		to := min(from+maxChecks, len(proofs))
		all.Go(func() { s.proveTogether(ctx, proofs[from:to], answers[from:to]) })
	}
	all.Wait()
	return answers
}

// proveTogether makes proofs in one transaction. One that fails because of a single node says nothing of the others: each
// is then asked for alone, and no term pays for another's end.
func (s *session) proveTogether(ctx context.Context, proofs []*proof, answers []error) {
	err := s.check(ctx, proofs...)
	if len(proofs) == 1 || !errors.Is(err, zk.ErrNoNode) && !errors.Is(err, zk.ErrNoAuth) {
		for i := range answers {
			answers[i] = err
		}
		return
	}
	var all sync.WaitGroup
	for i, p := range proofs {
		all.Go(func() { answers[i] = s.check(ctx, p) })
	}
	all.Wait()
}

// check makes one transaction of proofs. Nothing is known of any of them if it fails, but for a single one.
func (s *session) check(ctx context.Context, proofs ...*proof) error {
	grant := s.promise(backend.Now())
	ops := make([]any, len(proofs))
	for i, p := range proofs {
		p.grant = grant
		ops[i] = &zk.CheckVersionRequest{Path: p.node, Version: -1}
	}
	_, err := ask(ctx, s, func(conn *zk.Conn) ([]zk.MultiResponse, error) {
		answers, err := conn.Multi(ops...)
		if err == nil {
			s.earned(grant)
		}
		return answers, err
	})
	return err
}

const (
	stepPart = 5  // of the TTL is how far the beginning of a renewal's grant may be moved back, so that it falls together with others
	joinPart = 10 // of the TTL is how old that of a win may become by it, which has yet to be announced, and must not look late
)

// inStep returns the grant of c for a proof that earned got. So that terms find a common rhythm, and are proved together,
// it is that of another term's proof since window, where that promises no more, is news to this term, and leaves enough: then
// both are due at the same time. b.mu must be held.
func (s *session) inStep(c *candidacy, got backend.Grant, window time.Duration) backend.Grant {
	beat := s.beat
	age := got.Sent.Since(beat.Sent)
	earlier := age + got.TTL - beat.TTL // by how much it ends before got does
	if beat.Sent.Since(c.grant.Sent) > 0 && age < window && earlier >= 0 && beat.TTL >= s.ttl()/2 {
		return beat
	}
	if age > 0 {
		s.beat = got
	}
	return got
}
