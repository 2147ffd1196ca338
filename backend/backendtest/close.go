package backendtest

import (
	"context"
	"fmt"

	"github.com/hustings-go/hustings/backend"
)

func closed(k *kit) {
	b := k.open()
	o := k.observe(b, k.key)
	o.untilVacant()
	k.close(b)
	k.close(b)
	_, err := o.wait()
	k.wantErr("Observe under Close", err, backend.ErrClosed)
	_, err = k.observe(b, k.key).wait()
	k.wantErr("Observe after Close", err, backend.ErrClosed)
	_, err = k.campaign(b, k.key, "late").wait()
	k.wantErr("Campaign after Close", err, backend.ErrClosed)
	k.wantNamed(err, k.key)
	if b.TTL() < k.h.TTL {
		k.Errorf("TTL() after Close is %v", b.TTL())
	}
	k.wantVacant(k.open(), k.key)
}

func closeWaiting(k *kit) {
	a, b, c := k.open(), k.open(), k.open()
	l := k.win(a, k.key, "alice")
	waiting := k.campaign(b, k.key, "bob")
	elsewhere := k.win(k.open(), k.key+".other", "guard")
	other := k.campaign(b, k.key+".other", "bob")
	k.settle()
	behind := k.campaign(c, k.key, "carol")
	k.settle()
	k.close(b)
	for _, w := range []*task[backend.Lease]{waiting, other} {
		_, err := w.wait()
		k.wantErr("a waiting Campaign under Close", err, backend.ErrClosed)
	}
	behind.stillRuns()
	k.renew(l)
	k.resign(l)
	k.resign(behind.must())
	k.wantVacant(a, k.key)
	k.resign(elsewhere)
	k.wantVacant(a, k.key+".other")
	k.resign(k.win(a, k.key+".other", "alice"))
}

func closeHolding(k *kit) {
	b, other := k.open(), k.open()
	o := k.observe(other, k.key)
	l, second := k.win(b, k.key, "alice"), k.win(b, k.key+".second", "alice")
	next := k.campaign(other, k.key, "bob")
	waits := k.waiting(l)
	k.settle()
	k.close(b)
	_, err := waits.wait()
	k.wantErr("Wait under Close", err, backend.ErrClosed)
	_, err = k.waiting(l).wait()
	k.wantErr("Wait after Close", err, backend.ErrClosed)
	for _, key := range []string{k.key, k.key + ".late"} { // held, and not
		_, err = k.campaign(b, key, "late").wait()
		k.wantErr("Campaign after Close", err, backend.ErrClosed)
	}
	for range 3 {
		k.renew(l)
		k.renew(second)
	}
	next.stillRuns()
	k.wantLeader(k.open(), k.key, l, "alice")
	k.resign(l)
	won := next.must()
	o.untilTerm(won, "bob")
	k.renew(second)
	k.close(b)
	k.resign(second)
	k.resign(l)
	k.wantVacant(other, k.key+".second")
	k.renew(won)
}

func closeOne(k *kit) {
	keep := k.open()
	l := k.win(keep, k.key, "alice")
	o := k.observe(keep, k.key)
	o.untilTerm(l, "alice")
	waits := k.waiting(l)
	guard := k.win(k.open(), k.key+".other", "guard")
	waiting := k.campaign(keep, k.key+".other", "alice")
	for i := range 5 {
		b := k.open()
		k.campaign(b, k.key, fmt.Sprint(i))
		k.campaign(b, k.key+".other", fmt.Sprint(i))
		k.observe(b, k.key)
		k.settle()
		k.close(b)
		k.renew(l)
		value := fmt.Sprintf("alice at %d", i)
		k.proclaim(l, value)
		o.untilTerm(l, value)
	}
	waits.stillRuns()
	waiting.stillRuns()
	k.resign(guard)
	waiting.must()
	waits.cancel()
	_, err := waits.wait()
	k.wantErr("Wait beside sessions that were closed", err, context.Canceled)
}
