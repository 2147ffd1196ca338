package etcd

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/crowd"
	"github.com/hustings-go/hustings/backend/internal/flight"
)

type etcdRange = etcdserverpb.RangeResponse

const (
	// maxOps is how many operations of one kind a transaction has: comparisons, reads, and reads that are made instead if a
	// comparison fails. etcd takes 128 of each by default (--max-txn-ops). Transactions within it would hold many more, but
	// etcd writes one that has any into its log, on all members, though it may only read.
	maxOps = 128

	// gatherPart of the TTL is how long reads wait at most for those before them: much longer than an
	// answer takes, unless it hangs, and a sixth of the time that an election gives an attempt.
	gatherPart = 60
)

// question is a read; with a term, the read of its record, of which nothing is to be known but whether it stands. etcd
// tells that by a comparison as well.
type question struct {
	read clientv3.Op
	term *candidacy
}

// answer is what the store held at a revision.
type answer struct {
	found  *etcdRange // nil where etcd compared
	stands bool       // the term's record is still what the term wrote
	at     int64      // 0: there is no answer
	err    error      // errAlone, or nil
}

// round is the questions of several callers in one transaction: the records of terms whose renewals fall
// together, the places of candidates that look at their queues. They are sent at once when none are in the
// air; else they gather until those before them have been answered, but not for long. So who asks alone
// waits for nobody, who asks after a request that hangs does not wait for that, and no question
// is answered with what was asked before it.
type round struct {
	slot      *flight.Slot
	questions []question
	reads     int             // of them that cannot be compared
	before    <-chan struct{} // closed when what was sent before this round has ended
	patience  time.Duration   // how long it gathers at most
	full      chan struct{}   // closed when nobody can join any more
	sent      bool

	answers []answer // one for each question
}

// takes reports whether there is room for q, where etcd takes limit operations of a kind: as many comparisons as reads. There is room
// for more terms where a survey may answer for them.
func (r *round) takes(q question, limit int, crowded bool) bool {
	room := 2 * limit
	if crowded {
		room = maxTogether
	}
	return len(r.questions) < room && (q.term != nil || r.reads < limit)
}

// rounds is the rounds of a Backend, guarded by its mu.
type rounds struct {
	gathering *round        // the one that may still be joined, or nil
	air       chan struct{} // closed with the end of what was sent last; nil after that
	limit     int           // how many operations of a kind the server takes at once
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

// errAlone says that a question is to be repeated alone: etcd refused it for the sake of one of those that it was sent with, or for
// their number.
var errAlone = errors.New("the reads were refused together")

// ask reads linearizably. The question is sent after ask was called, together with those of others where there are any: one
// bounded request, another one if etcd refused them together, since what one of them may not read is nothing to the others,
// and another one if so many gathered that not all could be answered where a record does not stand.
func (b *Backend) ask(ctx context.Context, q question) (answer, error) {
	b.mu.Lock()
	rs := &b.rounds
	crowded := b.crowded()
	if rs.gathering != nil && !rs.gathering.takes(q, rs.limit, crowded) {
		close(rs.gathering.full)
		rs.gathering = nil
	}
	if rs.gathering == nil && rs.air == nil && (q.term == nil || !crowded) {
		land := b.depart()
		b.mu.Unlock()
		defer land()
		return b.askAlone(ctx, q)
	}
	if rs.gathering == nil {
		r := &round{before: rs.air, patience: b.ttl / gatherPart, full: make(chan struct{})}
		if crowded && rs.air == nil { // for those who are about to ask
			r.patience = min(r.patience, crowd.Pause)
		}
		r.slot = flight.New(func(ctx context.Context) error { return b.send(ctx, r) }, 0)
		rs.gathering = r
	}
	r := rs.gathering
	mine := len(r.questions)
	r.questions = append(r.questions, q)
	if q.term == nil {
		r.reads++
	}
	air := r.slot.Board(ctx)
	b.mu.Unlock()
	switch err := air.Await(ctx); {
	case errors.Is(err, errAlone):
		return b.askAlone(ctx, q)
	case err != nil:
		return answer{}, err
	case r.answers[mine].err != nil:
		return b.askAlone(ctx, q)
	default:
		return r.answers[mine], nil
	}
}

// send waits until r may go, closes it to further callers, and sends it.
func (b *Backend) send(ctx context.Context, r *round) (err error) {
	patience := time.NewTimer(r.patience)
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
	limit := b.rounds.limit
	land := b.depart()
	b.mu.Unlock()
	defer land()
	switch n := len(r.questions); {
	case n == 1:
		a, err := b.askAlone(ctx, r.questions[0])
		r.answers = []answer{a}
		return err
	case n > 2*limit:
		if r.answers, err = b.survey(ctx, r.questions); err != nil {
			return err
		}
	default:
		r.answers = make([]answer, n)
	}
	return b.askRest(ctx, r, limit)
}

// askRest answers what was not answered yet, in as few transactions as hold it, one after the other.
func (b *Backend) askRest(ctx context.Context, r *round, limit int) error {
	var rest []int
	reads := 0 // of them that cannot be compared: they go first
	for i, q := range r.questions {
		switch {
		case r.answers[i].at > 0:
		case q.term == nil:
			rest = slices.Insert(rest, reads, i)
			reads++
		default:
			rest = append(rest, i)
		}
	}
	for some := range slices.Chunk(rest, 2*limit) {
		questions := make([]question, 0, len(some))
		for _, i := range some {
			questions = append(questions, r.questions[i])
		}
		answers, err := b.askTogether(ctx, questions, limit)
		tooMany := errors.Is(rpctypes.Error(err), rpctypes.ErrTooManyOps)
		if tooMany {
			b.mu.Lock()
			b.rounds.limit = max(1, min(b.rounds.limit, min(limit, len(some))/2))
			b.mu.Unlock()
		}
		switch {
		case tooMany || errors.Is(b.classify(err), backend.ErrDenied):
			answers = slices.Repeat([]answer{{err: errAlone}}, len(some))
		case err != nil:
			return err
		}
		for n, i := range some {
			r.answers[i] = answers[n]
		}
	}
	return nil
}

// askAlone makes one request of q.
func (b *Backend) askAlone(ctx context.Context, q question) (a answer, _ error) {
	err := b.request(ctx, func(ctx context.Context) error {
		resp, err := b.client.Do(ctx, q.read) // the client repeats it by itself, if it may
		if err == nil {
			a = q.answer((*etcdRange)(resp.Get()), resp.Get().Header.Revision)
		}
		return err
	})
	return a, err
}

// askTogether makes one transaction of questions, with no more than limit operations of a kind. Of the terms' records as many
// as that are compared, and all else is read. Where one of them does not stand, those that were compared are read instead,
// and all else by another transaction.
func (b *Backend) askTogether(ctx context.Context, questions []question, limit int) ([]answer, error) {
	var compared, others []int
	var stand []clientv3.Cmp
	var reads, instead []clientv3.Op
	for i, q := range questions {
		if q.term != nil && len(compared) < limit {
			compared, stand, instead = append(compared, i), append(stand, q.term.compare()), append(instead, q.read)
		} else {
			others, reads = append(others, i), append(reads, q.read)
		}
	}
	var resp *clientv3.TxnResponse
	err := b.request(ctx, func(ctx context.Context) (err error) {
		resp, err = b.client.Txn(ctx).If(stand...).Then(reads...).Else(instead...).Commit()
		return err
	})
	if err != nil {
		return nil, err
	}
	answers, at := make([]answer, len(questions)), resp.Header.Revision
	read := others
	if !resp.Succeeded {
		read = compared
	}
	for n, i := range read {
		answers[i] = questions[i].answer(resp.Responses[n].GetResponseRange(), at)
	}
	switch {
	case resp.Succeeded:
		for _, i := range compared {
			answers[i] = answer{stands: true, at: at}
		}
	case len(others) > 0:
		left := make([]question, 0, len(others))
		for _, i := range others {
			left = append(left, questions[i])
		}
		later, err := b.askTogether(ctx, left, limit)
		if err != nil {
			return nil, err
		}
		for n, i := range others {
			answers[i] = later[n]
		}
	}
	return answers, nil
}

// answer is what the store held for q.
func (q question) answer(found *etcdRange, at int64) answer {
	return answer{found: found, stands: q.term != nil && q.term.isAmong(found.Kvs), at: at}
}
