package etcd

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/flight"
)

type etcdRange = etcdserverpb.RangeResponse

const (
	// maxReads is how many reads share one transaction. etcd takes 128 operations by default
	// (--max-txn-ops).
	maxReads = 100

	// gatherPart of the TTL is how long reads wait at most for those before them: much longer than an
	// answer takes, unless it hangs, and a sixth of the time that an election gives an attempt.
	gatherPart = 60
)

// round is the reads of several callers in one transaction: the records of terms whose renewals fall
// together, the places of candidates that look at their queues. Reads are sent at once when none are in the
// air; else they gather until those before them have been answered, but not for long. So who asks alone
// waits for nobody, who asks after a request that hangs does not wait for that, and no question
// is answered with what was asked before it.
type round struct {
	slot    *flight.Slot
	reads   []clientv3.Op
	callers int             // that ever asked
	before  <-chan struct{} // closed when what was sent before this round has ended
	full    chan struct{}   // closed when nobody can join any more
	sent    bool

	answer []*etcdRange // one for each read, all at the revision at
	at     int64
}

// rounds is the rounds of a Backend, guarded by its mu.
type rounds struct {
	gathering *round        // the one that may still be joined, or nil
	air       chan struct{} // closed with the end of what was sent last; nil after that
	limit     int           // how many reads the server takes at once
}

// depart notes that reads are sent now, and returns what is to be called when they have ended. b.mu must be held.
func (b *Backend) depart() (land func()) {
	air := make(chan struct{})
	b.rounds.air = air
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.rounds.air == air {
			b.rounds.air = nil
		}
		close(air)
	}
}

// errAlone says that each read of a round is to be repeated alone: etcd refused it for the sake of one of
// them, or for their number.
var errAlone = errors.New("the reads were refused together")

// ask reads, linearizably and all at the revision that it returns. The reads are sent after ask was
// called, together with those of others where there are any: one bounded request, and another one if etcd refused
// them together, since what one of them may not read is nothing to the others.
func (b *Backend) ask(ctx context.Context, reads ...clientv3.Op) (answer []*etcdRange, at int64, _ error) {
	b.mu.Lock()
	q := &b.rounds
	if q.gathering != nil && len(q.gathering.reads)+len(reads) > q.limit {
		close(q.gathering.full)
		q.gathering = nil
	}
	if q.gathering == nil && q.air == nil {
		land := b.depart()
		b.mu.Unlock()
		defer land()
		return b.read(ctx, reads)
	}
	if q.gathering == nil {
		r := &round{before: q.air, full: make(chan struct{})}
		r.slot = flight.New(func(ctx context.Context) error { return b.send(ctx, r) }, 0)
		q.gathering = r
	}
	r := q.gathering
	first := len(r.reads)
	r.reads = append(r.reads, reads...)
	r.callers++
	air := r.slot.Board(ctx)
	b.mu.Unlock()
	switch err := air.Await(ctx); {
	case errors.Is(err, errAlone):
		return b.read(ctx, reads)
	case err != nil:
		return nil, 0, err
	default:
		return r.answer[first : first+len(reads)], r.at, nil
	}
}

// send waits until r may go, closes it to further callers, and sends it.
func (b *Backend) send(ctx context.Context, r *round) (err error) {
	patience := time.NewTimer(b.ttl / gatherPart)
	defer patience.Stop()
	select {
	case <-r.before:
	case <-r.full:
	case <-patience.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	b.mu.Lock()
	if r.sent {
		b.mu.Unlock()
		// All callers had left r, and others joined it, just as it was sent: for those who had left.
		return errAlone
	}
	r.sent = true
	if b.rounds.gathering == r {
		b.rounds.gathering = nil
	}
	land := b.depart()
	b.mu.Unlock()
	defer land()
	r.answer, r.at, err = b.read(ctx, r.reads)
	tooMany := errors.Is(rpctypes.Error(err), rpctypes.ErrTooManyOps)
	if tooMany {
		b.mu.Lock()
		b.rounds.limit = max(1, min(b.rounds.limit, len(r.reads)/2))
		b.mu.Unlock()
	}
	if r.callers > 1 && (tooMany || errors.Is(b.classify(err), backend.ErrDenied)) {
		return errAlone
	}
	return err
}

// read makes one request of reads.
func (b *Backend) read(ctx context.Context, reads []clientv3.Op) (answer []*etcdRange, at int64, _ error) {
	err := b.request(ctx, func(ctx context.Context) error {
		if len(reads) == 1 { // the client repeats it by itself, if it may
			resp, err := b.client.Do(ctx, reads[0])
			if err == nil {
				answer, at = []*etcdRange{(*etcdRange)(resp.Get())}, resp.Get().Header.Revision
			}
			return err
		}
		resp, err := b.client.Txn(ctx).Then(reads...).Commit()
		if err != nil {
			return err
		}
		for _, one := range resp.Responses {
			answer = append(answer, one.GetResponseRange())
		}
		at = resp.Header.Revision
		return nil
	})
	return answer, at, err
}
