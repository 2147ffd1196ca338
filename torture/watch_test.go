//go:build unix

package torture

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hustings-go/hustings/torture/stores"
)

// watch is how the store itself shows the election: one observer at each member, so that one of them tells
// early whatever is wrong with the others.
type watch struct {
	mu     sync.Mutex
	gone   map[uint64]int64 // when a token was first seen not to lead any more
	newest uint64           // the highest token that any observer saw
	shown  []uint64         // what each observer saw last, 0 when the key was vacant
	seen   []uint64         // the highest that each observer saw
	back   []string         // observers that went back in time
}

func startWatch(t testing.TB, store stores.Store, cluster stores.Cluster) *watch {
	t.Helper()
	members := cluster.Members()
	w := &watch{gone: map[uint64]int64{}, shown: make([]uint64, len(members)), seen: make([]uint64, len(members))}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var observers sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		observers.Wait()
	})
	for i, m := range members {
		b, done, err := store.Open(ctx, []string{m.Endpoint()}, store.TTL)
		if err != nil {
			t.Fatal(err)
		}
		observers.Go(func() {
			defer done()
			for ctx.Err() == nil {
				for l, err := range b.Observe(ctx, key) {
					if err == nil {
						w.see(i, l.Token)
					} else if strings.Contains(err.Error(), "back in time") {
						w.reverse(i, err)
					}
				}
				again := time.NewTimer(store.TTL / 10)
				select {
				case <-again.C:
				case <-ctx.Done():
				}
				again.Stop()
			}
			_ = b.Close() // it has no session
		})
	}
	return w
}

func (w *watch) see(observer int, token uint64) {
	now := time.Now().UnixNano()
	w.mu.Lock()
	defer w.mu.Unlock()
	if token != 0 && token < w.seen[observer] {
		w.back = append(w.back, fmt.Sprintf("observer %d saw token %d after %d", observer, token, w.seen[observer]))
	}
	for _, old := range []uint64{w.shown[observer], w.newest} {
		if _, known := w.gone[old]; old != 0 && !known && (token > old || token == 0 && old <= w.seen[observer]) {
			w.gone[old] = now
		}
	}
	w.shown[observer] = token
	w.seen[observer] = max(w.seen[observer], token)
	w.newest = max(w.newest, token)
}

func (w *watch) reverse(observer int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.back = append(w.back, fmt.Sprintf("observer %d: %v", observer, err))
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
