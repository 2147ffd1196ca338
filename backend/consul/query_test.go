package consul

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A query that is answered by nobody is given up soon after it should have been, and who listens is told so.
func TestAQueryThatNobodyAnswers(t *testing.T) {
	inSilence(t, 0, func(t *testing.T, h *holder) {
		l := h.listens("key")
		time.Sleep(h.ttl + h.ttl/16 + h.bound - 1) // Consul may take a sixteenth more
		h.blocks("until then", 1)
		time.Sleep(1)
		h.blocks("after that", 0)
		if _, _, _, err := h.take(l); !errors.Is(err, errNoAnswer) {
			t.Errorf("who listens is told: %v", err)
		}
		h.leave(l)
	})
}

// A key that is held costs no query per TTL: the one on it blocks for longer.
func TestHeldKeysCostNoQueryPerTTL(t *testing.T) {
	inSilence(t, 1, func(t *testing.T, h *holder) {
		l := h.listens(keyOf(0))
		time.Sleep(10 * h.ttl)
		synctest.Wait()
		if _, _, _, err := h.take(l); err != nil || h.begun.Load() != 1 {
			t.Errorf("%d queries in ten TTLs, error %v", h.begun.Load(), err)
		}
		h.leave(l)
	})
}
