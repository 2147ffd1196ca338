package backendtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// newer checks the order of two terms of one key.
func (k *kit) newer(l, old backend.Lease) {
	k.Helper()
	k.checkToken(l.Token())
	if l.Token() <= old.Token() {
		k.Errorf("token %d after %d, must be greater", l.Token(), old.Token())
	}
}

func tokens(k *kit) {
	a, b := k.open(), k.open()
	o := k.observe(k.open(), k.key)
	var last backend.Lease
	for _, s := range []backend.Backend{a, a, b, a, a, b, b} {
		l := k.win(s, k.key, "value")
		if last != nil {
			k.newer(l, last)
		}
		o.untilTerm(l, "value") // the same token
		token := l.Token()
		k.renew(l)
		k.proclaim(l, "another value")
		o.untilTerm(l, "another value") // still
		if l.Token() != token {
			k.Errorf("the token of a term went from %d to %d, must stay", token, l.Token())
		}
		k.resign(l)
		o.untilVacant()
		last = l
	}
}

func tokensAfterDepose(k *kit) {
	a, b := k.open(), k.open()
	last := k.win(a, k.key, "0")
	for _, s := range []backend.Backend{b, b, a} {
		k.h.Depose(k.TB, k.key)
		k.wantLost(last) // lets its session stand again
		l := k.win(s, k.key, "next")
		k.newer(l, last)
		k.wantLeader(k.open(), k.key, l, "next")
		last = l
	}
}

func tokensAfterExpiry(k *kit) {
	a, b := k.openShort(), k.open()
	old := k.win(a, k.key, "alice")
	next := k.campaign(b, k.key, "bob").mustWithin(k.patience())
	k.newer(next, old)
	k.wantLost(old)
	k.resign(next)
	k.newer(k.win(a, k.key, "alice"), next)
}

func renewProves(k *kit) {
	b := k.open()
	l, other := k.win(b, k.key, "alice"), k.win(b, k.key+".other", "alice")
	k.h.Depose(k.TB, k.key)
	k.wantLost(l)
	k.renew(other) // the session lives
	k.wantVacant(k.open(), k.key)
	k.newer(k.win(b, k.key, "alice again"), l)
}

// late makes the late calls of an old term, and checks that its successor does not notice.
func (k *kit) late(old, successor backend.Lease, value string) {
	k.Helper()
	o := k.observe(k.open(), k.key)
	o.untilTerm(successor, value)
	k.wantLost(old)
	k.wantLost(old)
	k.renew(successor)
	k.proclaim(successor, value+" and well")
	for {
		l := o.next()
		if l.Token != successor.Token() {
			k.Fatalf("after late calls of the term %d its successor %d gave way to %+v", old.Token(), successor.Token(), l)
		}
		if string(l.Value) == value+" and well" {
			break
		}
		if string(l.Value) != value {
			k.Fatalf("a late call of an old term changed the value to %q", l.Value)
		}
	}
	k.renew(successor)
}

func lateAfterResign(k *kit) {
	a, b := k.open(), k.open()
	first := k.win(a, k.key, "first")
	k.resign(first)
	second := k.win(a, k.key, "second") // of the same session
	k.late(first, second, "second")
	waiting := k.campaign(b, k.key, "third")
	k.settle()
	k.resign(second)
	third := waiting.must()
	k.late(second, third, "third")
	k.late(first, third, "third and well")
}

func lateAfterDepose(k *kit) {
	a, b := k.open(), k.open()
	first := k.win(a, k.key, "first")
	waiting := k.campaign(b, k.key, "second")
	k.settle()
	k.h.Depose(k.TB, k.key)
	second := waiting.must()
	k.late(first, second, "second")
	k.h.Depose(k.TB, k.key)
	third := k.win(a, k.key, "third") // of the same session as the first
	k.late(first, third, "third")
	k.late(second, third, "third and well")
}

func lateAfterExpiry(k *kit) {
	first := k.win(k.openShort(), k.key, "first")
	second := k.campaign(k.open(), k.key, "second").mustWithin(k.patience())
	k.late(first, second, "second")
}

// renewExtends needs renewals in time. Where the machine was too slow for them the holder may lose, and
// it begins anew.
func renewExtends(k *kit) {
	var why error
	for range 5 {
		if why = heldOn(k); why == nil {
			return
		}
	}
	k.Fatalf("each time, be it because the machine is too slow for the TTL: %v", why)
}

// heldOn returns why nothing can be said, if so.
func heldOn(k *kit) (inconclusive error) {
	a, b := k.openShort(), k.openShort()
	l := k.win(a, k.key, "alice")
	next := k.campaign(b, k.key, "bob")
	grant := l.Grant()
	for start := backend.Now(); backend.Now().Since(start) < 5*k.h.MinTTL/2; {
		k.pause(k.h.MinTTL / 5)
		renewed, err := begin(k, "Renew", l.Renew).wait()
		if err == nil {
			grant = renewed
		}
		over := next.ended()
		age := backend.Now().Since(grant.Sent)
		if over && next.err != nil {
			k.resign(l)
			return fmt.Errorf("who waits gave up: %w", next.err)
		}
		switch {
		case err == nil && !over:
		case errors.Is(err, context.DeadlineExceeded) && !over && age < grant.TTL: // one request: the next makes up for it
		case age < grant.TTL:
			k.Fatalf("the term did not last: %v after a grant of %v, Renew returned error %v and another candidate has won: %t", age, grant.TTL, err, over)
		default:
			next.cancel()
			if won, err := next.wait(); err == nil {
				k.resign(won)
			}
			return errors.Join(fmt.Errorf("renewals came late: the last one was answered %v after a grant of %v was asked for", age, grant.TTL), err)
		}
	}
	k.resign(l)
	won, err := next.wait()
	if err != nil {
		return fmt.Errorf("who waits gave up: %w", err)
	}
	k.newer(won, l)
	if g, age := won.Grant(), backend.Now().Since(won.Grant().Sent); age >= g.TTL {
		k.resign(won)
		return fmt.Errorf("the grant of a candidate that waited longer than the TTL is %v old and worth %v", age, g.TTL)
	}
	return nil
}

// succeeds waits for the successor of a term that nobody renews any more, and checks that it did not
// come before the promise of grant had run out.
func (k *kit) succeeds(next *task[backend.Lease], grant backend.Grant) backend.Lease {
	k.Helper()
	l := next.mustWithin(k.patience())
	if passed := backend.Now().Since(grant.Sent); k.h.Features.Expiry && passed < grant.TTL {
		k.Errorf("the next candidate won %v after a grant of %v was asked for", passed, grant.TTL)
	}
	return l
}

func expiry(k *kit) {
	a := k.openShort()
	l := k.win(a, k.key, "alice")
	next := k.campaign(k.open(), k.key, "bob")
	k.pause(k.h.MinTTL / 4)
	grant, err := begin(k, "Renew", l.Renew).wait()
	if err != nil {
		grant = l.Grant() // a slow machine
	}
	k.newer(k.succeeds(next, grant), l)
	k.wantLost(l)
}

func crash(k *kit) {
	a := k.openShort()
	o := k.observe(k.open(), k.key)
	l := k.win(a, k.key, "alice")
	next := k.campaign(k.open(), k.key, "bob")
	k.pause(k.h.MinTTL / 4)
	grant, err := begin(k, "Renew", l.Renew).wait()
	if err != nil {
		grant = l.Grant() // a slow machine
	}
	k.kill(a)
	won := k.succeeds(next, grant)
	k.newer(won, l)
	o.untilTerm(won, "bob")
	k.resign(won)
	o.untilVacant()
}

func crashInQueue(k *kit) {
	a, dead, c := k.open(), k.openShort(), k.open()
	l := k.win(a, k.key, "alice")
	k.campaign(dead, k.key, "dead")
	k.settle()
	last := k.campaign(c, k.key, "carol")
	k.settle()
	k.kill(dead)
	k.resign(l)
	won := last.mustWithin(k.patience())
	k.resign(won)
	k.wantVacant(a, k.key)
	k.resign(k.win(a, k.key, "alice again"))
}

// waiting runs Wait beside the case.
func (k *kit) waiting(l backend.Lease) *task[struct{}] {
	k.Helper()
	return begin(k, "Wait", func(ctx context.Context) (struct{}, error) {
		err := l.Wait(ctx)
		if err == nil {
			k.Error("Wait returned nil, must return a reason")
		}
		return struct{}{}, err
	})
}

func waitTells(k *kit) {
	b := k.open()
	l := k.win(b, k.key, "alice")
	other := k.win(b, k.key+".other", "alice")
	told, quiet := k.waiting(l), k.waiting(other)
	k.settle()
	told.stillRuns()
	k.h.Depose(k.TB, k.key)
	_, err := told.wait()
	k.wantErr("Wait of a deposed term", err, backend.ErrLost)
	quiet.stillRuns()
	_, err = k.waiting(l).wait()
	k.wantErr("Wait called after the loss", err, backend.ErrLost)
	k.newer(k.win(b, k.key, "again"), l)
}

func waitWaits(k *kit) {
	b := k.open()
	l := k.win(b, k.key, "alice")
	waits := k.waiting(l)
	next := k.campaign(k.open(), k.key, "bob")
	for range 3 {
		k.renew(l)
		k.proclaim(l, "still alice")
	}
	k.settle()
	waits.stillRuns()
	waits.cancel()
	_, err := waits.wait()
	k.wantErr("a cancelled Wait", err, context.Canceled)

	ctx, cancel := context.WithTimeout(k.Context(), time.Millisecond)
	defer cancel()
	err = k.do("Wait", func(context.Context) error { return l.Wait(ctx) })
	k.wantErr("Wait until a deadline", err, context.DeadlineExceeded)
	if errors.Is(err, backend.ErrLost) {
		k.Errorf("Wait until a deadline: error %v, must not say that the key is lost", err)
	}
	k.renew(l)
	k.proclaim(l, "alice")
	next.stillRuns()
}
