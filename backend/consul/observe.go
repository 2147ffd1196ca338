package consul

import (
	"context"
	"fmt"
	"iter"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
	"github.com/hustings-go/hustings/backend/internal/errand"
)

// Observe yields who leads key, and every change. See [backend.Backend] for the contract; what is Consul's
// own: it watches the key with a blocking query that all share who watch it, one per TTL while nothing happens, or looks every
// second if more keys are watched than queries may block (see WithMaxQueries); and reads key and sibling
// together, consistently, after each change. It needs the right to read both, and no session. Of changes that come faster
// than the loop takes them, it yields the last. It may be ranged over again, and by many at once.
//
// A leader that uses api.Lock has no sibling. Its token is then the key's modify index as this Observe
// first saw it in that term: greater than the token of every earlier term and less than that of
// every later one, and the same for all observers unless somebody wrote to the key while it was held.
func (b *Backend) Observe(ctx context.Context, key string) iter.Seq2[backend.Leader, error] {
	return calls.Observe(ctx, func(tell func(backend.Leader, error)) (stop func()) { return b.TellLeaders(ctx, key, tell) })
}

// TellLeaders tells what Observe yields; see [backend.LeaderTeller]. It has a goroutine only while there is something to
// tell.
func (b *Backend) TellLeaders(ctx context.Context, key string, tell func(backend.Leader, error)) (stop func()) {
	o := &observer{b: b, key: key, hand: tell}
	if err := backend.ValidateKey(key); err != nil {
		return errand.Once(func() { tell(backend.Leader{}, err) })
	}
	return b.keepVigil(ctx, key, o.turn, func(err error) { tell(backend.Leader{}, b.wrap("observe", key, err)) })
}

// observer is one observation. Its vigil takes its turns, one at a time.
type observer struct {
	b    *Backend
	key  string
	hand func(backend.Leader, error)

	began  bool
	at     entry      // as read last
	leader api.KVPair // the key's entry as told last, without the value; zero for vacant
	token  uint64     // as told last
	newest uint64     // the highest token told
}

// turn reads the record if there is reason to, and tells who leads.
func (o *observer) turn(ctx context.Context, now *api.KVPair) (read *api.KVPair, _ error) {
	if o.began && now != nil && entryOf(now) == o.at {
		return nil, nil
	}
	r, err := o.b.read(ctx, o.key)
	if err != nil {
		return nil, err
	}
	o.at = entryOf(&r.lead)
	return &r.lead, o.tell(r)
}

// tell tells who leads now, unless that was said already.
func (o *observer) tell(r *record) error {
	var leader backend.Leader
	if r.held() {
		leader = backend.Leader{Value: r.lead.Value, Token: o.tokenOf(r)}
	}
	if o.began && leader.Token == o.token && (leader.Vacant() || r.lead.ModifyIndex == o.leader.ModifyIndex) {
		return nil
	}
	if !leader.Vacant() && leader.Token < o.newest {
		return fmt.Errorf("the store went back in time: token %d came after %d", leader.Token, o.newest)
	}
	o.began, o.leader, o.token = true, r.lead, leader.Token
	o.leader.Value = nil // it is the receiver's
	o.newest = max(o.newest, leader.Token)
	o.hand(leader, nil)
	return nil
}

// tokenOf returns the token of the term in r. A sibling of the same session makes it the leader's own. Else
// the leader is a stranger; the session and the two indexes tell one of its terms from the next.
func (o *observer) tokenOf(r *record) uint64 {
	switch {
	case r.term.Session == r.lead.Session:
		return r.term.ModifyIndex
	case o.token != 0 && sameTerm(&r.lead, &o.leader):
		return o.token
	default:
		return r.lead.ModifyIndex
	}
}
