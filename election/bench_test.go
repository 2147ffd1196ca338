package election

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/memory"
)

func BenchmarkTermValid(b *testing.B) {
	p, err := rules{}.plan(time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	term := newTerm(b.Context(), backend.Now, 1, grant{Sent: backend.Now(), TTL: time.Hour}, p)
	b.ReportAllocs()
	for b.Loop() {
		if !term.Valid() {
			b.Fatal("not valid")
		}
	}
}

func TestValidDoesNotAllocate(t *testing.T) {
	p, err := rules{}.plan(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	term := newTerm(t.Context(), backend.Now, 1, grant{Sent: backend.Now(), TTL: time.Hour}, p)
	if n := testing.AllocsPerRun(1000, func() { term.Valid() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCurrent(b *testing.B) {
	store, err := memory.New()
	if err != nil {
		b.Fatal(err)
	}
	e, err := New(store, testKey, "a")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = e.Current()
	}
}

// BenchmarkEventDelivery is a change of state published, and taken by every listener in its own goroutine.
func BenchmarkEventDelivery(b *testing.B) {
	for _, listeners := range []int{1, 100} {
		b.Run(fmt.Sprint(listeners), func(b *testing.B) {
			h := &hub{}
			took := make(chan struct{}, listeners)
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			for range listeners {
				s := h.subscribe()
				s.pop()
				go func() {
					for {
						r, _, ok := s.take(ctx)
						if !ok {
							return
						}
						_ = s.context(ctx, r)
						took <- struct{}{}
					}
				}()
			}
			states := []State{StateCampaigning, StateErrored}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				r := record{state: states[i%2]}
				r.ctx, r.cancel = context.WithCancelCause(ctx)
				h.publish(r)
				for range listeners {
					<-took
				}
				i++
			}
		})
	}
}

// BenchmarkWinAndResign is a whole campaign on the memory backend: stand, win, lead, resign, leave.
func BenchmarkWinAndResign(b *testing.B) {
	store, err := memory.New()
	if err != nil {
		b.Fatal(err)
	}
	e, err := New(store, testKey, "a")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Run(b.Context(), func(context.Context, *Term) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWeight tells what one election weighs among many in one process: goroutines, bytes of live heap,
// those of the store in memory included, and bytes of stack.
func BenchmarkWeight(b *testing.B) {
	const many = 1000
	for _, tt := range []struct {
		name    string
		waiting bool
		stand   func(ctx context.Context, e *Election[string], led func())
	}{
		{"leading in Run", false, standInRun},
		{"leading in Events", false, standInEvents},
		{"waiting in Run", true, standInRun},
		{"waiting in Events", true, standInEvents},
	} {
		b.Run(tt.name, func(b *testing.B) {
			for b.Loop() {
				store, err := memory.New(memory.WithTTL(time.Hour))
				if err != nil {
					b.Fatal(err)
				}
				ours, err := store.Peer()
				if err != nil {
					b.Fatal(err)
				}
				var keys [many]string
				for i := range keys {
					keys[i] = fmt.Sprintf("%s/%d", testKey, i)
					if tt.waiting {
						if _, err := store.Campaign(b.Context(), keys[i], nil); err != nil {
							b.Fatal(err)
						}
					}
				}
				before := weigh()
				stop := standMany(b, ours, keys[:], tt.waiting, tt.stand)
				now := weigh()
				stop()
				b.ReportMetric(float64(now.goroutines-before.goroutines)/many, "goroutines/election")
				b.ReportMetric(float64(now.heap-before.heap)/many, "heap-B/election")
				b.ReportMetric(float64(now.stack-before.stack)/many, "stack-B/election")
			}
			b.ReportMetric(0, "ns/op") // nothing here is about time
		})
	}
}

// standMany starts an election for every key, and returns when all of them lead, or wait, and know it.
func standMany(b *testing.B, store backend.Backend, keys []string, waiting bool, stand func(context.Context, *Election[string], func())) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	log := quiet()
	var ready, ended sync.WaitGroup
	for _, key := range keys {
		e, err := New(store, key, "a", log)
		if err != nil {
			b.Fatal(err)
		}
		if !waiting {
			ready.Add(1)
		}
		ended.Go(func() { stand(ctx, e, ready.Done) })
	}
	ready.Wait()
	return func() {
		cancel()
		ended.Wait()
	}
}

func standInRun(ctx context.Context, e *Election[string], led func()) {
	_ = e.Run(ctx, func(ctx context.Context, _ *Term) error {
		led()
		<-ctx.Done()
		return nil
	})
}

func standInEvents(ctx context.Context, e *Election[string], led func()) {
	for ev := range e.Events(ctx) {
		if ev.State == StateLeader {
			led()
			<-ev.Context().Done()
		}
	}
}

type weight struct{ goroutines, heap, stack int }

// weigh looks when everything has come to rest.
func weigh() weight {
	for last, same := -1, 0; same < 5; time.Sleep(10 * time.Millisecond) {
		if n := runtime.NumGoroutine(); n == last {
			same++
		} else {
			last, same = n, 0
		}
	}
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return weight{runtime.NumGoroutine(), int(m.HeapAlloc), int(m.StackInuse)}
}
