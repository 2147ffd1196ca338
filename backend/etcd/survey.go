package etcd

import (
	"context"
	"errors"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hustings-go/hustings/backend"
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

	// crowdPause is how long a renewal waits for those of the same rhythm, where there are many.
	crowdPause = 20 * time.Millisecond

	// maxOthers is how many times as many keys as records may be in the range, since all of them are looked at.
	maxOthers = 4

	// maxVain is how many surveys in a row may prove nothing: candidates come and go all the time.
	maxVain = 3

	// surveyRest is how many TTLs pass without surveys after they proved to be of no use.
	surveyRest = 20
)

// survey is a range of keys as it was at a revision.
type survey struct {
	first, last string // both are in it
	at          int64  // 0: none was made
	keys        int64
}

// surveys is what a Backend knows of them, guarded by its mu.
type surveys struct {
	latest survey
	vain   int       // that proved nothing, in a row
	rest   time.Time // until when there are none
}

// crowded reports whether the Backend may hold more records than fit into a transaction. b.mu must be held.
func (b *Backend) crowded() bool {
	return len(b.standing) > 2*b.rounds.limit && !time.Now().Before(b.surveys.rest)
}

// survey answers questions for terms' records as far as one read can, all at one revision. Where there is no survey of the same range to
// go by, it only counts, for the next one to go by.
func (b *Backend) survey(ctx context.Context, questions []question) (answers []answer, _ error) {
	answers = make([]answer, len(questions))
	b.mu.Lock()
	before := b.surveys.latest
	now, records := b.extent()
	crowded := b.crowded()
	if crowded && folder(now) == "" {
		b.surveys, crowded = b.noSurveys(), false
	}
	b.mu.Unlock()
	if !crowded {
		return answers, nil
	}
	known := before.at > 0 && before.first == now.first && before.last == now.last
	opts := []clientv3.OpOption{clientv3.WithRange(now.last + "\x00")}
	if known {
		opts = append(opts, clientv3.WithMinModRev(before.at+1), clientv3.WithKeysOnly(), clientv3.WithLimit(maxNews))
	} else {
		opts = append(opts, clientv3.WithCountOnly())
	}
	var resp *clientv3.GetResponse
	err := b.request(ctx, func(ctx context.Context) (err error) {
		resp, err = b.client.Get(ctx, now.first, opts...)
		return err
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	if errors.Is(b.classify(err), backend.ErrDenied) {
		b.surveys = b.noSurveys()
		return answers, nil
	}
	if err != nil {
		return nil, err
	}
	now.at, now.keys = resp.Header.Revision, resp.Count
	proved := false
	if known && before.stands(now, resp) {
		for i, q := range questions {
			if c := q.term; c != nil && before.has(c) {
				answers[i], proved = answer{stands: true, at: now.at}, true
			}
		}
	}
	b.surveys.note(now, proved)
	if b.surveys.vain == maxVain || now.keys > maxOthers*int64(records) {
		b.surveys = b.noSurveys()
	}
	return answers, nil
}

// noSurveys has none made for a good while.
func (b *Backend) noSurveys() surveys { return surveys{rest: time.Now().Add(surveyRest * b.ttl)} }

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

// note has the next survey go by the latest one.
func (s *surveys) note(now survey, proved bool) {
	if now.at >= s.latest.at {
		s.latest = now
	}
	if s.vain++; proved {
		s.vain = 0
	}
}

// extent is the range of the records of all terms, and how many they are. b.mu must be held.
func (b *Backend) extent() (s survey, records int) {
	for _, c := range b.standing {
		switch {
		case !c.leads:
			continue
		case records == 0:
			s.first, s.last = c.path, c.path
		default:
			s.first, s.last = min(s.first, c.path), max(s.last, c.path)
		}
		records++
	}
	return s, records
}

// folder is the part that all keys of the range begin with, up to a slash; or empty, where anything might be in between.
func folder(s survey) string {
	n := 0
	for n < len(s.first) && n < len(s.last) && s.first[n] == s.last[n] {
		n++
	}
	return s.first[:strings.LastIndexByte(s.first[:n], '/')+1]
}
