package consul

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend"
)

// silence is a Consul that answers nothing, or that there is no key, when it is told to.
type silence struct {
	begun, now atomic.Int64
	answer     chan struct{}
}

func (q *silence) RoundTrip(r *http.Request) (*http.Response, error) {
	q.begun.Add(1)
	q.now.Add(1)
	defer q.now.Add(-1)
	select {
	case <-q.answer:
		return &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{"X-Consul-Index": {"7"}}, Body: http.NoBody, Request: r}, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// holder has terms at a Consul that answers nothing.
type holder struct {
	*Backend
	silence
	t testing.TB
}

// inSilence runs a test with the keys key/0 to before key/n held, in a bubble.
func inSilence(t *testing.T, n int, test func(t *testing.T, h *holder), opts ...Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &holder{t: t, silence: silence{answer: make(chan struct{})}}
		client, err := api.NewClient(&api.Config{HttpClient: &http.Client{Transport: &h.silence}})
		if err != nil {
			t.Fatal(err)
		}
		if h.Backend, err = New(client, opts...); err != nil {
			t.Fatal(err)
		}
		h.mu.Lock()
		for i := range n {
			h.standing[keyOf(i)] = &candidacy{key: keyOf(i), leads: true}
			h.terms++
		}
		h.mu.Unlock()
		test(t, h)
		h.seeAllOff()
		h.mu.Lock()
		defer h.mu.Unlock()
		if n, m, o := len(h.lingering), len(h.querying), len(h.sights); n+m+o > 0 {
			t.Errorf("left: %d queries that linger, %d in all, %d keys", n, m, o)
		}
	})
}

func keyOf(i int) string { return fmt.Sprintf("key/%d", i) }

// listens has somebody listen to a key.
func (h *holder) listens(key string) *listener {
	l := h.listen(key, nil, func() {})
	h.want(l)
	synctest.Wait()
	return l
}

// giveUp has a term be over.
func (h *holder) giveUp(i int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.give(h.standing[keyOf(i)], backend.Now())
}

// blocks sees how many queries block.
func (h *holder) blocks(when string, n int64) {
	h.t.Helper()
	synctest.Wait()
	if got := h.now.Load(); got != n {
		h.t.Errorf("%s: %d queries block, want %d", when, got, n)
	}
}

// atOnce does something, and sees that it takes no time.
func (h *holder) atOnce(what string, do func()) {
	h.t.Helper()
	began := time.Now()
	do()
	if took := time.Since(began); took != 0 {
		h.t.Errorf("%s took %v", what, took)
	}
}

func TestAQueryOnAHeldKeyLingers(t *testing.T) {
	inSilence(t, 1, func(_ *testing.T, h *holder) {
		l := h.listens(keyOf(0))
		h.atOnce("leaving", func() { h.leave(l) })
		h.blocks("when the last has left", 1)
		h.giveUp(0)
		h.atOnce("leaving again", func() { h.leave(l) })
		time.Sleep(lingering - 1)
		h.blocks("until the end of a moment", 1)
		time.Sleep(1)
		h.blocks("after a moment", 0)
	})
}

// Nor does one that blocks on another key, or of which nothing can come any more.
func TestAQueryOnAnotherKeyDoesNotLinger(t *testing.T) {
	inSilence(t, 1, func(t *testing.T, h *holder) {
		other, held := h.listens("other"), h.listens(keyOf(0))
		h.leave(other)
		if got := h.now.Load(); got != 1 { // when leave has returned, it is over
			t.Errorf("%d queries block", got)
		}
		h.calls.Close(nil)
		h.leave(held)
		if got := h.now.Load(); got != 0 {
			t.Errorf("%d queries block after Close", got)
		}
	})
}

func TestFewQueriesLinger(t *testing.T) {
	const n = 3 * maxLingering
	inSilence(t, n, func(_ *testing.T, h *holder) {
		all := make([]*listener, n)
		for i := range all {
			all[i] = h.listens(keyOf(i))
		}
		h.blocks("before", n)
		for _, l := range all {
			h.atOnce("leaving", func() { h.leave(l) })
		}
		h.blocks("when all have left", maxLingering)
		time.Sleep(lingering)
		h.blocks("after a moment", 0)
	})
}

// Who listens again takes the query that is there.
func TestAQueryThatLingersIsTakenOver(t *testing.T) {
	inSilence(t, 1, func(t *testing.T, h *holder) {
		for range 3 {
			l := h.listens(keyOf(0))
			time.Sleep(10 * lingering)
			h.blocks("while somebody listens", 1)
			h.leave(l)
			time.Sleep(lingering / 2)
		}
		if got := h.begun.Load(); got != 1 {
			t.Errorf("%d queries for those who listened one after the other", got)
		}
	})
}

// A query that is to end soon, as the term is over, and ends by itself, leaves the next one alone.
func TestAQueryEndsSoonOnce(t *testing.T) {
	inSilence(t, 1, func(t *testing.T, h *holder) {
		l := h.listens(keyOf(0))
		h.answer <- struct{}{} // that is news
		synctest.Wait()
		_, _, _, _ = h.take(l)
		h.want(l)
		h.blocks("on the key of a term", 1)
		h.giveUp(0)
		h.answer <- struct{}{} // and that is none
		time.Sleep(2 * lingering)
		h.blocks("afterwards", 1)
		if got := h.begun.Load(); got != 3 {
			t.Errorf("%d queries, want 3", got)
		}
		h.leave(l)
	})
}

// It is one of the queries, and another key may have it at once.
func TestAQueryThatLingersGivesWay(t *testing.T) {
	inSilence(t, 1, func(t *testing.T, h *holder) {
		h.leave(h.listens(keyOf(0)))
		h.giveUp(0)
		h.atOnce("another key's query", func() {
			l := h.listens("other")
			h.mu.Lock()
			if !l.s.query || len(h.querying) != 1 {
				t.Errorf("it has one: %t, of %d", l.s.query, len(h.querying))
			}
			h.mu.Unlock()
			h.blocks("for another key", 1)
			h.leave(l)
		})
	}, WithMaxQueries(1))
}

func TestAQueryThatLingersIsSeenOff(t *testing.T) {
	inSilence(t, 1, func(t *testing.T, h *holder) {
		over, cancel := context.WithCancel(t.Context())
		cancel()
		for _, tc := range []struct {
			name string
			took time.Duration
			left int64
			off  func()
		}{
			{"by a call that ends the term", wakeTime, 0, func() { h.seeOff(t.Context(), keyOf(0)) }},
			{"by one whose caller has left", 0, 0, func() { h.seeOff(over, keyOf(0)) }},
			{"by one for another key", 0, 1, func() { h.seeOff(t.Context(), "other") }},
			{"by Close", 0, 0, func() { _ = h.Close() }},
		} {
			h.leave(h.listens(keyOf(0)))
			began := time.Now()
			tc.off()
			if left, took := h.now.Load(), time.Since(began); left != tc.left || took != tc.took {
				t.Errorf("%s: %d queries block after %v, want %d after %v", tc.name, left, took, tc.left, tc.took)
			}
		}
	})
}

// Who listens again meanwhile keeps it.
func TestAQueryThatWasTakenOverIsNotSeenOff(t *testing.T) {
	inSilence(t, 1, func(t *testing.T, h *holder) {
		h.leave(h.listens(keyOf(0)))
		var l *listener
		time.AfterFunc(wakeTime/2, func() {
			l = h.listen(keyOf(0), nil, func() {})
			h.want(l)
		})
		h.seeOff(t.Context(), keyOf(0))
		h.blocks("for who came meanwhile", 1)
		if got := h.begun.Load(); got != 1 {
			t.Errorf("it is the query number %d", got)
		}
		h.leave(l)
	})
}
