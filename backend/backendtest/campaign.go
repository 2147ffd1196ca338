package backendtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hustings-go/hustings/backend"
)

func winAndResign(k *kit) {
	b := k.open()
	o := k.observe(k.open(), k.key)
	o.untilVacant()
	l := k.win(b, k.key, "alice")
	o.untilTerm(l, "alice")
	k.renew(l)
	k.resign(l)
	o.untilVacant()
}

func grants(k *kit) {
	b := k.open()
	ttl := max(b.TTL(), k.h.MinTTL)
	check := func(what string, get func() backend.Grant) {
		before := backend.Now()
		g := get()
		switch after := backend.Now(); {
		case g.Sent.Since(before) < 0:
			k.Errorf("%s: Sent is %v before the call was made", what, before.Since(g.Sent))
		case after.Since(g.Sent) < 0:
			k.Errorf("%s: Sent is %v after the call returned", what, g.Sent.Since(after))
		case g.TTL <= 0 || g.TTL > ttl:
			k.Errorf("%s: TTL is %v, must be positive and at most the %v asked for", what, g.TTL, ttl)
		}
	}
	var l backend.Lease
	check("Campaign", func() backend.Grant { l = k.win(b, k.key, "alice"); return l.Grant() })
	first := l.Grant()
	check("Renew", func() backend.Grant { return k.renew(l) })
	if l.Grant() != first {
		k.Errorf("Grant() changed with Renew, must stay the one that came with winning")
	}
	next := k.campaign(k.open(), k.key, "bob")
	k.settle()
	k.resign(l)
	won := next.must()
	if age := backend.Now().Since(won.Grant().Sent); age >= won.Grant().TTL {
		k.Errorf("the grant of a candidate that had to wait is %v old and worth %v", age, won.Grant().TTL)
	}
}

func leaseOutlivesContext(k *kit) {
	c := k.campaign(k.open(), k.key, "alice")
	l := c.must()
	c.cancel()
	k.settle()
	k.renew(l)
	k.wantLeader(k.open(), k.key, l, "alice")
}

func exclusive(k *kit) {
	const sessions, rounds = 8, 3
	var (
		holders atomic.Int32
		mu      sync.Mutex
		tokens  []uint64
		turns   []*task[struct{}]
	)
	for i := range sessions {
		b := k.open()
		turns = append(turns, begin(k, fmt.Sprintf("session %d", i), func(ctx context.Context) (struct{}, error) {
			for range rounds {
				l, err := b.Campaign(ctx, k.key, fmt.Append(nil, i))
				if err != nil {
					return struct{}{}, err
				}
				if n := holders.Add(1); n != 1 {
					k.Errorf("%d sessions hold the key at once", n)
				}
				mu.Lock()
				tokens = append(tokens, l.Token())
				mu.Unlock()
				if _, err := l.Renew(ctx); err != nil {
					k.Errorf("Renew of the only holder: %v", err)
				}
				holders.Add(-1)
				if err := l.Resign(ctx); err != nil {
					return struct{}{}, err
				}
			}
			return struct{}{}, nil
		}))
	}
	for _, t := range turns {
		t.mustWithin(k.patience())
	}
	if len(tokens) != sessions*rounds {
		k.Errorf("%d terms, want %d", len(tokens), sessions*rounds)
	}
	for i := 1; i < len(tokens); i++ {
		if tokens[i] <= tokens[i-1] {
			k.Errorf("tokens in the order of winning are %v, must grow", tokens)
			break
		}
	}
	k.wantVacant(k.open(), k.key)
}

// inOrder cannot see when a candidate has reached the queue. It gives each some time, and more of it
// each time that the order was wrong: what fails is a store that never gets it right.
func inOrder(k *kit) {
	const candidates = 6
	want := []int{0, 1, 2, 3, 4, 5}
	var got []int
	for try, pause := 0, 100*time.Millisecond; try < 4; try, pause = try+1, 3*pause {
		key := fmt.Sprintf("%s/%d", k.key, try)
		held := k.win(k.open(), key, "first")
		won := make(chan int, candidates)
		var turns []*task[struct{}]
		for i := range candidates {
			b := k.open()
			turns = append(turns, begin(k, "candidate", func(ctx context.Context) (struct{}, error) {
				l, err := b.Campaign(ctx, key, nil)
				if err != nil {
					return struct{}{}, err
				}
				won <- i
				return struct{}{}, l.Resign(ctx)
			}))
			k.pause(pause)
		}
		k.resign(held)
		for _, t := range turns {
			t.mustWithin(k.patience())
		}
		close(won)
		got = nil
		for i := range won {
			got = append(got, i)
		}
		if slices.Equal(got, want) {
			return
		}
	}
	k.Errorf("candidates won in the order %v, want %v", got, want)
}

func busy(k *kit) {
	a, b := k.open(), k.open()
	refused := func(what string, s backend.Backend) {
		k.Helper()
		err := k.do("Campaign", func(ctx context.Context) error {
			_, err := s.Campaign(ctx, k.key, nil)
			return err
		})
		k.wantErr(what, err, backend.ErrBusy)
		k.wantNamed(err, k.key)
	}
	l := k.win(a, k.key, "alice")
	refused("a second Campaign while the first holds", a)
	other := k.win(a, k.key+".other", "alice")
	k.resign(other)

	// Which of two comes first is open: one must wait, the other be refused.
	x, y := k.campaign(b, k.key, "x"), k.campaign(b, k.key, "y")
	select {
	case <-x.done:
		x, y = y, x
	case <-y.done:
	case <-k.after(k.prompt()):
		k.Fatal("two candidacies of one session wait for one key, want one refused")
	}
	_, err := y.wait()
	k.wantErr("a second Campaign while the first waits", err, backend.ErrBusy)
	x.stillRuns()
	refused("a third Campaign while the first waits", b)
	x.stillRuns()

	x.cancel()
	_, err = x.wait()
	k.wantErr("a cancelled Campaign", err, context.Canceled)
	x = k.campaign(b, k.key, "x") // busy no more
	k.settle()
	k.resign(l)
	k.resign(x.must())
	k.resign(k.win(a, k.key, "alice")) // nor here
}

func handover(k *kit) {
	a, b := k.open(), k.open()
	o := k.observe(k.open(), k.key)
	last := k.win(a, k.key, "0")
	for i, s := range []backend.Backend{b, a, b} {
		value := fmt.Sprint(i)
		next := k.campaign(s, k.key, value)
		if s == a {
			k.settle()
		}
		next.stillRuns()
		k.resign(last)
		last = next.must()
		o.untilTerm(last, value)
	}
}

func resignTwice(k *kit) {
	b := k.open()
	l := k.win(b, k.key, "alice")
	k.resign(l)
	k.resign(l)
	err := k.do("Renew", func(ctx context.Context) error { _, err := l.Renew(ctx); return err })
	k.wantErr("Renew of a resigned term", err, backend.ErrLost)
	k.resign(l)
	k.wantVacant(b, k.key)
	if k.h.Depose == nil {
		return
	}
	l = k.win(b, k.key, "alice")
	k.h.Depose(k.TB, k.key)
	k.resign(l)
	k.resign(l)
	k.wantVacant(b, k.key)
}

func hundred(k *kit) {
	const keys = 100
	b, watching := k.open(), k.open()
	name := func(i int) string { return fmt.Sprintf("%s/%d", k.key, i) }
	all := func(what string, f func(ctx context.Context, i int) error) {
		k.Helper()
		var calls []*task[struct{}]
		for i := range keys {
			calls = append(calls, begin(k, fmt.Sprintf("%s %d", what, i), func(ctx context.Context) (struct{}, error) {
				return struct{}{}, f(ctx, i)
			}))
		}
		for _, c := range calls {
			c.must()
		}
	}
	var leases [keys]backend.Lease
	all("Campaign", func(ctx context.Context, i int) (err error) {
		leases[i], err = b.Campaign(ctx, name(i), fmt.Append(nil, i))
		return err
	})
	all("Renew", func(ctx context.Context, i int) error { _, err := leases[i].Renew(ctx); return err })
	for _, i := range []int{0, keys / 2, keys - 1} {
		k.wantLeader(watching, name(i), leases[i], fmt.Sprint(i))
	}
	all("Resign", func(ctx context.Context, i int) error { return leases[i].Resign(ctx) })
	all("Campaign of another session", func(ctx context.Context, i int) error {
		l, err := watching.Campaign(ctx, name(i), nil)
		if err != nil {
			return err
		}
		if l.Token() <= leases[i].Token() {
			return errors.New("the token did not grow")
		}
		return l.Resign(ctx)
	})
}
