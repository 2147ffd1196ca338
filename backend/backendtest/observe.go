package backendtest

import (
	"context"
	"fmt"

	"github.com/hustings-go/hustings/backend"
)

func follow(k *kit) {
	a, b := k.open(), k.open()
	o := k.observe(k.open(), k.key)
	if l := o.next(); !l.Vacant() {
		k.Fatalf("the first observation of a key that nobody uses is %+v, must be vacant", l)
	}
	first := k.win(a, k.key, "alice")
	o.untilTerm(first, "alice")
	for _, value := range []string{"alice at 2", "", "alice at 3"} {
		k.proclaim(first, value)
		o.untilTerm(first, value)
	}
	k.resign(first)
	o.untilVacant()
	second := k.win(b, k.key, "bob")
	o.untilTerm(second, "bob")
	waiting := k.campaign(a, k.key, "alice again")
	k.settle()
	k.resign(second)
	third := waiting.must()
	o.untilTerm(third, "alice again")
	if k.h.Depose != nil {
		k.h.Depose(k.TB, k.key)
	} else {
		k.resign(third)
	}
	o.untilVacant()
	o.cancel()
	o.mustEnd()
}

func observeStarts(k *kit) {
	b := k.open()
	o := k.observe(b, k.key+".unused")
	if l := o.next(); !l.Vacant() || len(l.Value) != 0 {
		k.Fatalf("the first observation of a key that nobody uses is %+v, must be the zero Leader", l)
	}
	l := k.win(b, k.key, "before")
	k.proclaim(l, "now")
	k.wantLeader(b, k.key, l, "now")
	k.wantLeader(k.open(), k.key, l, "now")
	k.resign(l)
	k.wantVacant(k.open(), k.key)
}

func observeLazy(k *kit) {
	b := k.open()
	ctx, cancel := context.WithCancel(k.Context())
	seq := b.Observe(ctx, k.key)
	k.Cleanup(func() { cancel() })
	l := k.win(b, k.key, "alice")
	for range 2 { // and it may be ranged over again
		k.must("Observe", func(context.Context) error {
			for seen, err := range seq {
				if err != nil {
					return err
				}
				if seen.Token == l.Token() && string(seen.Value) == "alice" {
					break
				}
			}
			return nil
		})
	}
	cancel()
	k.must("Observe", func(context.Context) error {
		for seen, err := range seq {
			return fmt.Errorf("a loop whose context has ended saw (%v, %v)", seen, err)
		}
		return nil
	})
}

func observeTogether(k *kit) {
	a, b := k.open(), k.open()
	all := []*observer{k.observe(a, k.key), k.observe(a, k.key), k.observe(b, k.key), k.observe(k.open(), k.key)}
	for _, s := range []backend.Backend{a, b} {
		for _, o := range all {
			o.untilVacant()
		}
		l := k.win(s, k.key, "one")
		for _, o := range all {
			o.untilTerm(l, "one")
		}
		k.proclaim(l, "two")
		for _, o := range all {
			o.untilTerm(l, "two")
		}
		k.resign(l)
	}
}

func observeLeave(k *kit) {
	b := k.open()
	stays := k.observe(b, k.key)
	for i := range 5 {
		l := k.win(b, k.key, fmt.Sprint(i))
		stays.untilTerm(l, fmt.Sprint(i))
		k.must("Observe", func(ctx context.Context) error {
			for _, err := range b.Observe(ctx, k.key) {
				return err // leaves at the first
			}
			return nil
		})
		cancelled := k.observe(b, k.key)
		cancelled.next()
		cancelled.cancel()
		cancelled.mustEnd()
		k.resign(l)
		stays.untilVacant()
	}
}

func observeOwned(k *kit) {
	b := k.open()
	l := k.win(b, k.key, "precious")
	scribbled := k.observe(b, k.key)
	seen := scribbled.until(func(seen backend.Leader) bool { return seen.Token == l.Token() })
	for i := range seen.Value {
		seen.Value[i] = 'x'
	}
	k.wantLeader(b, k.key, l, "precious")
	k.wantLeader(k.open(), k.key, l, "precious")
	k.proclaim(l, "another")
	scribbled.untilTerm(l, "another")
}
