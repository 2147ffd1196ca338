package election

import (
	"context"
	"fmt"
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
