package etcd

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/crowd"
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

// asked is a question of one of those who ask together, and its answer.
type asked struct {
	question
	answer
}

// hasRoom reports whether q may be asked together with those that gather: as many terms' records and as many other reads as etcd takes
// operations of a kind. There is room for more terms where a survey may answer for them.
func (b *Backend) hasRoom(gathered []*asked, q *asked) bool {
	b.mu.Lock()
	limit, crowded := b.limit, b.crowded()
	b.mu.Unlock()
	room := 2 * limit
	if crowded {
		room = maxTogether
	}
	if len(gathered) >= room || q.term != nil {
		return len(gathered) < room
	}
	reads := 0
	for _, other := range gathered {
		if other.term == nil {
			reads++
		}
	}
	return reads < limit
}

// crowdPause is how long q waits for those who are about to ask as well.
func (b *Backend) crowdPause(q *asked) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if q.term == nil || !b.crowded() {
		return 0
	}
	return crowd.Pause
}

// errAlone says that a question is to be repeated alone: etcd refused it for the sake of one of those that it was sent with, or for
// their number.
var errAlone = errors.New("the reads were refused together")

// ask reads linearizably. The question is sent after ask was called, together with those of others where there are any, as of terms whose
// renewals fall together and of candidates that look at their queues: one
// bounded request, another one if etcd refused them together, since what one of them may not read is nothing to the others,
// and another one if so many gathered that not all could be answered where a record does not stand.
func (b *Backend) ask(ctx context.Context, q question) (answer, error) {
	one := &asked{question: q}
	switch err := b.rounds.Ask(ctx, one); {
	case errors.Is(err, errAlone):
		return b.askAlone(ctx, q)
	case err != nil:
		return answer{}, err
	}
	return one.answer, nil
}

// askAll answers those that were asked together.
func (b *Backend) askAll(ctx context.Context, all []*asked) []error {
	b.mu.Lock()
	limit := b.limit
	b.mu.Unlock()
	var err error
	switch n := len(all); {
	case n == 1:
		all[0].answer, err = b.askAlone(ctx, all[0].question)
	case n > 2*limit:
		err = b.survey(ctx, all)
	}
	if err == nil {
		err = b.askRest(ctx, all, limit)
	}
	errs := make([]error, len(all))
	for i, one := range all {
		errs[i] = cmp.Or(err, one.err)
	}
	return errs
}

// askRest answers what was not answered yet, in as few transactions as hold it, one after the other.
func (b *Backend) askRest(ctx context.Context, all []*asked, limit int) error {
	var rest []*asked
	reads := 0 // of them that cannot be compared: they go first
	for _, one := range all {
		switch {
		case one.at > 0:
		case one.term == nil:
			rest = slices.Insert(rest, reads, one)
			reads++
		default:
			rest = append(rest, one)
		}
	}
	for some := range slices.Chunk(rest, 2*limit) {
		err := b.askTogether(ctx, some, limit)
		tooMany := errors.Is(rpctypes.Error(err), rpctypes.ErrTooManyOps)
		if tooMany {
			b.mu.Lock()
			b.limit = max(1, min(b.limit, min(limit, len(some))/2))
			b.mu.Unlock()
		}
		switch {
		case tooMany || errors.Is(b.classify(err), backend.ErrDenied):
			for _, one := range some {
				one.answer = answer{err: errAlone}
			}
		case err != nil:
			return err
		}
	}
	return nil
}

// askAlone makes one request of q.
func (b *Backend) askAlone(ctx context.Context, q question) (a answer, _ error) {
	err := b.request(ctx, func(ctx context.Context) error {
		resp, err := b.client.Do(ctx, q.read) // the client repeats it by itself, if it may
		if err == nil {
			a = q.answered((*etcdRange)(resp.Get()), resp.Get().Header.Revision)
		}
		return err
	})
	return a, err
}

// askTogether makes one transaction of all, with no more than limit operations of a kind. Of the terms' records as many
// as that are compared, and all else is read. Where one of them does not stand, those that were compared are read instead,
// and all else by another transaction.
func (b *Backend) askTogether(ctx context.Context, all []*asked, limit int) error {
	var compared, others []*asked
	var stand []clientv3.Cmp
	var reads, instead []clientv3.Op
	for _, one := range all {
		if one.term != nil && len(compared) < limit {
			compared, stand, instead = append(compared, one), append(stand, one.term.compare()), append(instead, one.read)
		} else {
			others, reads = append(others, one), append(reads, one.read)
		}
	}
	var resp *clientv3.TxnResponse
	err := b.request(ctx, func(ctx context.Context) (err error) {
		resp, err = b.client.Txn(ctx).If(stand...).Then(reads...).Else(instead...).Commit()
		return err
	})
	if err != nil {
		return err
	}
	at, read := resp.Header.Revision, others
	if !resp.Succeeded {
		read = compared
	}
	for n, one := range read {
		one.answer = one.answered(resp.Responses[n].GetResponseRange(), at)
	}
	switch {
	case resp.Succeeded:
		for _, one := range compared {
			one.answer = answer{stands: true, at: at}
		}
	case len(others) > 0:
		return b.askTogether(ctx, others, limit)
	}
	return nil
}

// answered is the answer to q where the store held found.
func (q question) answered(found *etcdRange, at int64) answer {
	return answer{found: found, stands: q.term != nil && q.term.isAmong(found.Kvs), at: at}
}
