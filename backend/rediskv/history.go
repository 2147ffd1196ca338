package rediskv

import (
	"fmt"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// history is what this session knows of a key's terms. Redis may forget: a failover promotes a replica that
// had not heard the last writes, a restart reads a file that lacks them, an operator flushes. Whoever then
// takes the key would get a token that was used before, while the one who had it may still believe in its
// lease.
//
// What a session can do is to notice that the counter stands below a token that it has seen, and then to
// stand back until every term that it knows of must be over by its holder's own clock; and to raise
// the counter above what it has seen when it leads. Raising alone would mend the tokens at once, but let
// two hold valid terms; refusing until the counter has grown by itself would leave an election without a
// leader for ever where nobody else stands.
type history struct {
	token  uint64          // the highest seen
	ttl    time.Duration   // the longest of a term
	behind bool            // the store has been seen to be behind token
	since  backend.Instant // when that was noticed
}

// remember notes a token that was read from the store. It returns an error if that is lower than one read
// before, until the session has stood back for long enough: then it follows the store as that is now.
func (b *Backend) remember(key string, token uint64, ttl time.Duration) error {
	if token == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.history(key)
	h.ttl = max(h.ttl, ttl)
	if token >= h.token {
		h.token, h.behind = token, false
		return nil
	}
	h.fellBehind()
	if h.rest() <= 0 {
		return nil
	}
	return fmt.Errorf("%w: token %d came after %d", ErrDataLost, token, h.token)
}

// history returns what is known of key. b.mu must be held.
func (b *Backend) history(key string) *history {
	h := b.seen[key]
	if h == nil {
		h = &history{ttl: b.ttl}
		b.seen[key] = h
	}
	return h
}

func (h *history) fellBehind() {
	if !h.behind {
		h.behind, h.since = true, backend.Now()
	}
}

// floor is what the counter must stand at, at least, and whether a loss has been waited out, so that it may
// be raised.
func (b *Backend) floor(key string) (token uint64, raise bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.seen[key]
	if h == nil {
		return 0, false
	}
	return h.token, h.behind && h.rest() <= 0
}

// rest is how long the session must still stand back.
func (h *history) rest() time.Duration { return h.ttl - backend.Now().Since(h.since) }

// standBack notes that the counter was found at fence, below what was seen, and says so.
func (b *Backend) standBack(key, fence string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.history(key)
	h.fellBehind()
	return fmt.Errorf("%w: its counter of tokens stands at %.20s, and token %d was seen; not leading for another %v, until every term from before is over",
		ErrDataLost, fence, h.token, max(h.rest(), time.Millisecond).Round(time.Millisecond))
}

// caughtUp notes a term that this session won: it is the newest, and nothing is behind any more.
func (b *Backend) caughtUp(key string, token uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.history(key)
	h.token, h.behind = max(h.token, token), false
}
