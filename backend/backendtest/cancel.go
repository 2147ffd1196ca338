package backendtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hustings-go/hustings/backend"
)

func endedContext(k *kit) {
	b := k.open()
	l := k.win(b, k.key, "alice")
	free := k.key + ".free"
	cancelled, cancel := context.WithCancel(k.Context())
	cancel()
	late, cancelLate := context.WithTimeout(k.Context(), 0)
	defer cancelLate()
	<-late.Done()
	for ctx, want := range map[context.Context]error{cancelled: context.Canceled, late: context.DeadlineExceeded} {
		for what, call := range map[string]func(ctx context.Context) error{
			"Campaign": func(ctx context.Context) error { _, err := b.Campaign(ctx, free, nil); return err },
			"Renew":    func(ctx context.Context) error { _, err := l.Renew(ctx); return err },
			"Wait":     l.Wait,
			"Proclaim": func(ctx context.Context) error { return l.Proclaim(ctx, []byte("mallory")) },
			"Observe": func(ctx context.Context) error {
				for seen, err := range b.Observe(ctx, k.key) {
					k.Errorf("Observe with a context that has ended yielded (%v, %v)", seen, err)
				}
				return want
			},
		} {
			err := k.do(what, func(context.Context) error { return call(ctx) })
			k.wantErr(what+" with a context that has ended", err, want)
			if errors.Is(err, backend.ErrLost) {
				k.Errorf("%s with a context that has ended: error %v, must not say that the key is lost", what, err)
			}
		}
	}
	k.renew(l)
	k.wantLeader(k.open(), k.key, l, "alice")
	k.resign(k.win(k.open(), free, "bob"))

	err := k.do("Resign", func(context.Context) error { return l.Resign(cancelled) })
	k.wantErr("Resign with a context that has ended", err, context.Canceled)
	k.resign(l) // again
	k.resign(k.win(k.open(), k.key, "bob"))
}

func cancelWaiting(k *kit) {
	a, b, c := k.open(), k.open(), k.open()
	l := k.win(a, k.key, "alice")
	leaving := k.campaign(b, k.key, "bob")
	k.settle()
	behind := k.campaign(c, k.key, "carol")
	k.settle()
	leaving.cancel()
	_, err := leaving.wait()
	k.wantErr("a cancelled Campaign", err, context.Canceled)
	k.wantNamed(err, k.key)
	behind.stillRuns()
	k.renew(l)
	k.resign(l)
	won := behind.must()
	again := k.campaign(b, k.key, "bob again")
	k.settle()
	k.resign(won)
	k.resign(again.must())
	k.wantVacant(a, k.key)
	k.resign(k.win(a, k.key, "alice again"))
}

// gaveUp checks the outcome of a Campaign that was cancelled about when it could have won: a lease, which
// is resigned, or the context's error.
func (k *kit) gaveUp(c *task[backend.Lease]) {
	k.Helper()
	l, err := c.wait()
	if err != nil {
		k.wantErr("a cancelled Campaign", err, context.Canceled)
		return
	}
	k.renew(l)
	k.resign(l)
}

func cancelStarting(k *kit) {
	a, b := k.open(), k.open()
	for i := range 20 {
		key := fmt.Sprintf("%s/%d", k.key, i%4)
		c := k.campaign(a, key, "alice")
		if i >= 4 {
			k.pause(time.Duration(i-4) * 200 * time.Microsecond)
		}
		c.cancel()
		k.gaveUp(c)
		k.resign(k.win(b, key, "bob"))
		k.wantVacant(b, key)
	}
	k.resign(k.win(a, k.key, "alice"))
}

func cancelWinning(k *kit) {
	a, b, c := k.open(), k.open(), k.open()
	for i := range 20 {
		l := k.win(a, k.key, "alice")
		next := k.campaign(b, k.key, "bob")
		last := k.campaign(c, k.key, "carol")
		if i%2 == 1 {
			k.pause(10 * time.Millisecond)
		}
		handed := begin(k, "Resign", func(ctx context.Context) (struct{}, error) { return struct{}{}, l.Resign(ctx) })
		if i >= 4 {
			k.pause(time.Duration(i-4) * 200 * time.Microsecond)
		}
		next.cancel()
		handed.must()
		k.gaveUpOrQueued(next, last)
		k.wantVacant(a, k.key)
	}
}

// gaveUpOrQueued is gaveUp for a candidate beside another one, which must win as soon as it may.
func (k *kit) gaveUpOrQueued(leaving, other *task[backend.Lease]) {
	k.Helper()
	// Which of them was first in the queue is open. Whoever has won resigns, so that the other can.
	select {
	case <-leaving.done:
		k.gaveUp(leaving)
		k.resign(other.must())
	case <-other.done:
		k.resign(other.must())
		k.gaveUp(leaving)
	case <-k.after(k.prompt()):
		k.Fatal("neither a cancelled candidate returned nor the one beside it won")
	}
}

func cancelOne(k *kit) {
	const leases, rounds = 20, 8
	b := k.open()
	var held [leases]backend.Lease
	for i := range held {
		held[i] = k.win(b, fmt.Sprintf("%s/%d", k.key, i), "mine")
	}
	guard := k.win(k.open(), k.key, "guard")
	waiting := k.campaign(b, k.key, "waiting")
	o := k.observe(b, k.key)
	o.untilTerm(guard, "guard")
	quiet := k.waiting(held[0])
	for round := range rounds {
		var renewals [leases]*task[backend.Grant]
		for i := range held {
			renewals[i] = begin(k, "Renew", held[i].Renew)
		}
		if round >= 2 { // else they are cancelled as they start
			k.pause(time.Duration(round) * 100 * time.Microsecond)
		}
		for i := range held {
			if i%2 == round%2 {
				renewals[i].cancel()
			}
		}
		leaving := k.campaign(b, k.key+".contended", "leaving")
		leaving.cancel()
		gone := k.observe(b, k.key)
		gone.cancel()
		for i, r := range renewals {
			_, err := r.wait()
			switch {
			case i%2 != round%2 && err != nil:
				k.Errorf("Renew beside cancelled calls: %v", err)
			case err != nil:
				k.wantErr("a cancelled Renew", err, context.Canceled)
			}
		}
		k.gaveUp(leaving)
		gone.mustEnd()
	}
	quiet.stillRuns()
	waiting.stillRuns()
	for _, l := range held {
		k.renew(l)
	}
	k.proclaim(guard, "still")
	o.untilTerm(guard, "still")
	k.resign(guard)
	o.untilTerm(waiting.must(), "waiting")
}
