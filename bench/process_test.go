//go:build unix

package bench

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend/memory"
	"github.com/hustings-go/hustings/election"
)

// measureProcess measures what costs no request: this library has no peer there.
func measureProcess(t *testing.T, r *run) {
	store, err := memory.New()
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	e := mustElect(t, store, "bench/process")
	long := pick(r, 20*time.Millisecond, 2*time.Second)
	add := func(what, unit, target string, met func(figures) bool, values figures) {
		line := row{Measure: what, Store: "memory", Unit: unit, Ours: values, Spread: true, Target: target}
		if met != nil {
			line.Met = verdict(met(values))
		}
		r.table.add(line)
	}
	err = e.Run(t.Context(), func(_ context.Context, term *election.Term) error {
		add("Term.Valid", "ns", "≤ 600 ns", func(f figures) bool { return f.median() <= 600 }, repeat(long, func() { _ = term.Valid() }))
		add("Term.Valid", "allocations", "0", func(f figures) bool { return f.median() == 0 }, figures{testing.AllocsPerRun(1000, func() { _ = term.Valid() })})
		add("Election.Current", "ns", "", nil, repeat(long, func() { _ = e.Current() }))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	add("win and resign", "µs", "", nil, repeat(long, func() {
		if err := e.Run(t.Context(), func(context.Context, *election.Term) error { return nil }); err != nil {
			t.Error(err)
		}
	}).times(1.0/1000))
	for _, listeners := range []int{1, 100} {
		add(fmt.Sprintf("an event, until the last of %d listeners has it", listeners), "µs", "", nil, delivery(t, store, listeners, pick(r, 3, 1000)))
	}
}

func mustElect(t *testing.T, b *memory.Backend, key string) *election.Election[string] {
	t.Helper()
	e, err := election.New(b, key, "me", election.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// repeat calls f for a while, and returns the nanoseconds of a call, as the means of a hundred batches.
func repeat(long time.Duration, f func()) (means figures) {
	const batches = 100
	n := 1
	for { // until a batch is long enough to be timed
		began := time.Now()
		for range n {
			f()
		}
		if time.Since(began) >= long/batches {
			break
		}
		n *= 2
	}
	for range batches {
		began := time.Now()
		for range n {
			f()
		}
		means = append(means, float64(time.Since(began))/float64(n))
	}
	return means
}

func (f figures) times(factor float64) (scaled figures) {
	for _, v := range f {
		scaled = append(scaled, v*factor)
	}
	return scaled
}

// delivery measures from the call that resigns to the moment that the last listener has the event that tells so, in
// microseconds.
func delivery(t *testing.T, store *memory.Backend, listeners, repeats int) (took figures) {
	e := mustElect(t, store, fmt.Sprintf("bench/delivery/%d", listeners))
	ctx, stop := context.WithCancel(t.Context())
	var listening sync.WaitGroup
	type news struct {
		state election.State
		at    time.Time
	}
	heard := make(chan news, listeners)
	for range listeners {
		listening.Go(func() {
			for ev := range e.Watch(ctx) {
				if ev.State == election.StateLeader || ev.State == election.StateResigned {
					heard <- news{ev.State, time.Now()}
				}
			}
		})
	}
	for range repeats {
		var resigned time.Time
		err := e.Run(ctx, func(context.Context, *election.Term) error {
			for n := 0; n < listeners; {
				if (<-heard).state == election.StateLeader { // and not old news of those who were not listening yet
					n++
				}
			}
			resigned = time.Now()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var last time.Time
		for n := 0; n < listeners; {
			if got := <-heard; got.state == election.StateResigned {
				n++
				if got.at.After(last) {
					last = got.at
				}
			}
		}
		took = append(took, float64(last.Sub(resigned))/float64(time.Microsecond))
	}
	stop()
	listening.Wait()
	return took
}
