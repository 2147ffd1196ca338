package consul

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/crowd"
)

// A Backend that holds many elections proves them with one short read, as long as nothing changes below the folder that
// they share. Consul tells with a list of the keys below a prefix the index of what was last written there, or deleted: it is not
// less than the modify index of any key in the list. Every write has an index that is greater than all that were told before it. So
// let a list have told X, then a term have been proved by itself, and then a list tell X once more: what is still in
// that list was last written before X was told first, and is as it was when the term was proved. Neither
// can a key have been deleted and made again between, nor does it matter when Consul forgets a deletion, whether both
// lists were of the same prefix, or that a snapshot was restored: one with that index was taken when it was all like this.
// Once the index is another, each term is proved by itself again.

// maxProofs is how many terms are proved in a transaction. Of fewer than that, a survey saves nothing.
const maxProofs = maxOps / proofOps

// surveys is what a session knows of them. Its fields are guarded by Backend.mu.
type surveys struct {
	crowd.Worth
	askers int    // Renews that wait for the renewal which is gathering, or in the air
	begun  uint64 // so far
	index  uint64 // told by the latest, or 0
}

// gather waits for others who are about to renew, if a survey may be worth it. Who renews out of turn waits for nobody.
func (b *Backend) gather(ctx context.Context, s *session) {
	b.mu.Lock()
	alone := len(s.members) <= maxProofs || s.fresh(backend.Now()) || s.surveys.Resting()
	b.mu.Unlock()
	if alone {
		return
	}
	pause := time.NewTimer(crowd.Pause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
	}
}

// survey proves the terms of s below their common folder, as far as one list of keys can, if many ask for it. Whoever was not
// proved asks by itself; so it may fail, and is not tried again for a good while when it does, or brings mostly other keys.
func (b *Backend) survey(ctx context.Context, s *session) {
	b.mu.Lock()
	var terms []*candidacy
	var keys crowd.Range
	for c := range s.members {
		if c.leads {
			terms = append(terms, c)
			keys.Add(c.key)
		}
	}
	prefix := keys.Prefix()
	if s.surveys.askers <= maxProofs || prefix == "" || s.surveys.Resting() {
		b.mu.Unlock()
		return
	}
	s.surveys.begun++
	number := s.surveys.begun
	b.mu.Unlock()
	index, names, err := b.list(ctx, prefix)
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	s.surveys.index = index
	ours, proved := 0, 0
	for _, c := range terms {
		if err != nil || !names[c.key] || !names[sibling(c.key)] {
			continue
		}
		ours += 2
		if c.unchanged == index {
			c.surveyed = number
			proved++
		}
	}
	if !s.surveys.Made(proved > 0) || err != nil || 2*ours < len(names) {
		s.surveys.Rest(b.ttl)
	}
}

// list returns the keys that begin with prefix, as far as the ACL token may read them, and the index of what was last written there or
// deleted. Like a proof it is asked of a leader that has just made sure that it leads, and waits for no turn. It is
// given a third of a renewal's time, which bounds what it can bring, too.
func (b *Backend) list(ctx context.Context, prefix string) (index uint64, names map[string]bool, _ error) {
	var keys []string
	var meta *api.QueryMeta
	err := within(ctx, b.renewing/3, func(ctx context.Context) (err error) {
		keys, meta, err = b.client.KV().Keys(prefix, "", consistent(ctx))
		return err
	})
	if err == nil && meta.LastIndex == 0 {
		err = errors.New("the list of keys has no index")
	}
	if err != nil {
		return 0, nil, err
	}
	names = make(map[string]bool, len(keys))
	for _, key := range keys {
		names[key] = true
	}
	return meta.LastIndex, names, nil
}
