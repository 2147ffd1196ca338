package consul

import (
	"context"
	"errors"
	"slices"

	"github.com/hashicorp/consul/api"
)

const (
	// maxOps is how many operations a transaction has at most: what Consul takes.
	maxOps = 128

	// proofOps is how many operations prove a term.
	proofOps = 2

	// maxValues is how many entries a transaction brings at most, as values may be large.
	maxValues = 32

	// gatherPart of the TTL is how long proofs wait at most for those before them: a sixth of the time that an
	// election gives an attempt.
	gatherPart = 60
)

// prove returns nil if the record is still this term's own, or ErrLost. It asks Consul after it was called,
// together with the other terms that ask at the same time.
func (l *Lease) prove(ctx context.Context) error {
	b, c := l.b, l.c
	b.mu.Lock()
	index := c.session.surveys.index
	b.mu.Unlock()
	err := b.proofs.Ask(ctx, c)
	if errors.Is(err, errAlone) {
		err = b.check(ctx, ops(c.proof()...))
	}
	switch {
	case err == nil:
		b.mu.Lock()
		defer b.mu.Unlock()
		c.unchanged = index
	case failedCheck(err):
		return l.examine(ctx, err)
	}
	return err
}

func (c *candidacy) proof() []*api.KVTxnOp { return proving(c.key, c.session.id, c.token) }

// errAlone says that each proof is to be asked for alone: Consul refused them together, for another reason than
// that a term is over.
var errAlone = errors.New("the proofs were refused together")

// proveAll asks for the proofs of many terms, in as few transactions as hold them, one after the other. A
// transaction that only reads tells of each operation that fails, and has looked at them all.
func (b *Backend) proveAll(ctx context.Context, terms []*candidacy) []error {
	answers := make([]error, 0, len(terms))
	for some := range slices.Chunk(terms, maxProofs) {
		var all []*api.KVTxnOp
		for _, c := range some {
			all = append(all, c.proof()...)
		}
		err := b.check(ctx, ops(all...))
		switch refusal, _ := errors.AsType[*conflict](err); {
		case err == nil:
			answers = append(answers, make([]error, len(some))...)
		case failedCheck(err):
			for i := range some {
				answers = append(answers, refusal.among(i*proofOps, (i+1)*proofOps))
			}
		case len(some) > 1 && denied(err):
			answers = append(answers, slices.Repeat([]error{errAlone}, len(some))...)
		default:
			// Nobody answers, or all alike: the rest need not find out one after the other.
			return append(answers, slices.Repeat([]error{err}, len(terms)-len(answers))...)
		}
	}
	return answers
}

// among returns what c says of the operations from the first to before the last, or nil.
func (c *conflict) among(first, last int) error {
	var errs api.TxnErrors
	for _, e := range c.errors {
		if e.OpIndex >= first && e.OpIndex < last {
			errs = append(errs, e)
		}
	}
	if errs == nil {
		return nil
	}
	return &conflict{errs}
}
