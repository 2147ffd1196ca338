//go:build unix

package torture

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hustings-go/hustings/torture/stores"
)

// watch is how the store itself shows the election: as many observers as members, each at another one, so that one of
// them tells early whatever is wrong with the others.
type watch struct {
	forgets bool
	stop    func() // may be called again

	mu     sync.Mutex
	gone   map[uint64]int64 // when a token was first seen not to lead any more
	newest uint64           // the highest token that any observer saw
	shown  []uint64         // what each observer saw last, 0 when the key was vacant
	seen   []uint64         // the highest that each observer saw
	at     []int64          // when it first saw that
	back   []reversal
}

// reversal is an observer that went back in time.
type reversal struct {
	at, newer int64 // when it did, and when it had seen the newer token
	what      string
}

func startWatch(t testing.TB, store stores.Store, cluster stores.Cluster) *watch {
	t.Helper()
	members := cluster.Members()
	n := len(members)
	w := &watch{forgets: store.Forgets, gone: map[uint64]int64{}, shown: make([]uint64, n), seen: make([]uint64, n), at: make([]int64, n)}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var observers sync.WaitGroup
	w.stop = func() {
		cancel()
		observers.Wait()
	}
	t.Cleanup(w.stop)
	for i := range members {
		b, done, err := store.Open(ctx, stores.Straight(cluster.Known(i, 1)), store.TTL)
		if err != nil {
			t.Fatal(err)
		}
		observers.Go(func() {
			defer done()
			for ctx.Err() == nil {
				for l, err := range b.Observe(ctx, key) {
					if err == nil {
						w.see(i, l.Token)
					} else if store.WentBack(err) {
						w.reverse(i, err.Error())
					}
				}
				again := time.NewTimer(store.TTL / 10)
				select {
				case <-again.C:
				case <-ctx.Done():
				}
				again.Stop()
			}
			_ = b.Close() // it holds nothing
		})
	}
	return w
}

func (w *watch) see(observer int, token uint64) {
	now := time.Now().UnixNano()
	w.mu.Lock()
	defer w.mu.Unlock()
	if token != 0 && token < w.seen[observer] {
		w.back = append(w.back, w.reversed(observer, fmt.Sprintf("observer %d saw token %d after %d", observer, token, w.seen[observer])))
		if w.forgets { // and so it goes on from there
			w.seen[observer], w.at[observer], w.newest = token, now, token
		}
	}
	for _, old := range []uint64{w.shown[observer], w.newest} {
		if _, known := w.gone[old]; old != 0 && !known && (token > old || token == 0 && old <= w.seen[observer]) {
			w.gone[old] = now
		}
	}
	w.shown[observer] = token
	if token > w.seen[observer] {
		w.seen[observer], w.at[observer] = token, now
	}
	w.newest = max(w.newest, token)
}

func (w *watch) reverse(observer int, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.back = append(w.back, w.reversed(observer, fmt.Sprintf("observer %d: %s", observer, what)))
}

func (w *watch) reversed(observer int, what string) reversal {
	return reversal{at: time.Now().UnixNano(), newer: w.at[observer], what: what}
}

// agree reports whether all observers see the same leader.
func (w *watch) agree() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, token := range w.shown {
		if token == 0 || token != w.newest {
			return false
		}
	}
	return true
}
