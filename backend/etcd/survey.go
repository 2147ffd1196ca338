package etcd

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/crowd"
)

// A Backend that holds more records than are asked for in one transaction has them proved by one read, whatever their number. In the range
// of keys from its first record to its last, it asks for those that were written after an earlier revision r, without values; and etcd tells how
// many keys there are in all. Say that n keys were there at r, and now m, of which k were created after r. Then n-(m-k) of the
// n are gone, or were made anew; if that is none, every record that stood at r has stood ever since. And a record stood at r if
// it was created by then, and seen to stand at r or later.

const (
	// maxTogether is how many questions wait for one survey.
	maxTogether = 1 << 14

	// maxNews is how many keys that were written a survey brings at most. With more it proves nothing.
	maxNews = 200

	// maxOthers is how many times as many keys as records may be in the range, since all of them are looked at.
	maxOthers = 4
)

// survey is a range of keys as it was at a revision.
type survey struct {
	crowd.Range
	at   int64 // 0: none was made
	keys int64
}

// surveys is what a Backend knows of them, guarded by its mu.
type surveys struct {
	crowd.Worth
	latest survey
}

// crowded reports whether the Backend may hold more records than fit into a transaction. b.mu must be held.
func (b *Backend) crowded() bool {
	return len(b.standing) > 2*b.limit && !b.surveys.Resting()
}

// survey answers those of all who ask for terms' records as far as one read can, all at one revision. Where there is no survey of the same
// range to go by, it only counts, for the next one to go by.
func (b *Backend) survey(ctx context.Context, all []*asked) error {
	b.mu.Lock()
	before := b.surveys.latest
	now, records := b.extent()
	crowded := b.crowded()
	if crowded && now.Prefix() == "" {
		b.noSurveys()
		crowded = false
	}
	b.mu.Unlock()
	if !crowded {
		return nil
	}
	known := before.at > 0 && before.Range == now.Range
	opts := []clientv3.OpOption{clientv3.WithRange(now.Last + "\x00")}
	if known {
		opts = append(opts, clientv3.WithMinModRev(before.at+1), clientv3.WithKeysOnly(), clientv3.WithLimit(maxNews))
	} else {
		opts = append(opts, clientv3.WithCountOnly())
	}
	var resp *clientv3.GetResponse
	err := b.request(ctx, func(ctx context.Context) (err error) {
		resp, err = b.client.Get(ctx, now.First, opts...)
		return err
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	if errors.Is(b.classify(err), backend.ErrDenied) {
		b.noSurveys()
		return nil
	}
	if err != nil {
		return err
	}
	now.at, now.keys = resp.Header.Revision, resp.Count
	proved := false
	if known && before.stands(now, resp) {
		for _, one := range all {
			if c := one.term; c != nil && before.has(c) {
				one.answer, proved = answer{stands: true, at: now.at}, true
			}
		}
	}
	if now.at >= b.surveys.latest.at {
		b.surveys.latest = now
	}
	if !b.surveys.Made(proved) || now.keys > maxOthers*int64(records) {
		b.noSurveys()
	}
	return nil
}

// noSurveys has none made for a good while, and then none go by one from before. b.mu must be held.
func (b *Backend) noSurveys() {
	b.surveys.latest = survey{}
	b.surveys.Rest(b.ttl)
}

// stands reports whether all keys of s are still there, where now is the same range at a later revision and news is what was written in
// between, and is still there.
func (s survey) stands(now survey, news *clientv3.GetResponse) bool {
	created := int64(0)
	for _, kv := range news.Kvs {
		if kv.CreateRevision > s.at {
			created++
		}
	}
	return now.at >= s.at && !news.More && now.keys-created == s.keys
}

// has reports whether the record of c, which is in the range, is known to be one of the keys of s. Backend.mu must be held.
func (s survey) has(c *candidacy) bool {
	return c.rev <= s.at && c.stood >= s.at
}

// extent is the range of the records of all terms, and how many they are. b.mu must be held.
func (b *Backend) extent() (s survey, records int) {
	for _, c := range b.standing {
		if c.leads {
			s.Add(c.path)
			records++
		}
	}
	return s, records
}
