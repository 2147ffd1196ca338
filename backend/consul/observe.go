package consul

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
)

// Observe yields who leads key, and every change. See [backend.Backend] for the contract; what is Consul's
// own: it watches the key with blocking queries, one per TTL while nothing happens, and reads key and sibling
// together, consistently, after each change. It needs the right to read both, and no session. It may be
// ranged over again, and by many at once.
//
// A leader that uses api.Lock has no sibling. Its token is then the key's modify index as this Observe
// first saw it in that term: greater than the token of every earlier term and less than that of
// every later one, and the same for all observers unless somebody wrote to the key while it was held.
func (b *Backend) Observe(ctx context.Context, key string) iter.Seq2[backend.Leader, error] {
	return func(yield func(backend.Leader, error) bool) {
		if err := backend.ValidateKey(key); err != nil {
			yield(backend.Leader{}, err)
			return
		}
		observing, leave, err := b.calls.Enter(ctx, false)
		if err == nil {
			defer leave()
			o := &observer{b: b, key: key, yield: yield}
			if err = o.run(observing); observing.Err() != nil && !errors.Is(err, errLeft) {
				err = calls.Ended(observing)
			}
		}
		if !errors.Is(err, errLeft) && ctx.Err() == nil {
			yield(backend.Leader{}, b.wrap("observe", key, err))
		}
	}
}

// observer is one Observe under way.
type observer struct {
	b     *Backend
	key   string
	yield func(backend.Leader, error) bool

	began  bool
	leader api.KVPair // the key's entry as told last, zero for vacant
	token  uint64     // as told last
	newest uint64     // the highest token told
}

// errLeft says that the caller left the loop.
var errLeft = errors.New("the caller left the loop")

// run yields until there is trouble, which the end of ctx and the caller's leaving are too.
func (o *observer) run(ctx context.Context) error {
	for last := (view{}); ; {
		now, err := o.b.watch(ctx, o.key, last.index, o.b.block)
		if err != nil {
			return err
		}
		changed := last.index == 0 || now.kv.ModifyIndex != last.kv.ModifyIndex || now.kv.CreateIndex != last.kv.CreateIndex
		last = now
		if !changed {
			continue
		}
		r, err := o.b.read(ctx, o.key)
		if err != nil {
			return err
		}
		if err := o.tell(r); err != nil {
			return err
		}
	}
}

// tell yields who leads now, unless that was said already.
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
	o.newest = max(o.newest, leader.Token)
	if !o.yield(leader, nil) {
		return errLeft
	}
	return nil
}

// tokenOf returns the token of the term in r. A sibling of the same session makes it the leader's own. Else
// the leader is a stranger; the session and the two indexes tell one of its terms from the next.
func (o *observer) tokenOf(r *record) uint64 {
	switch {
	case r.term.Session == r.lead.Session:
		return r.term.ModifyIndex
	case o.token != 0 && r.lead.Session == o.leader.Session && r.lead.CreateIndex == o.leader.CreateIndex && r.lead.LockIndex == o.leader.LockIndex:
		return o.token
	default:
		return r.lead.ModifyIndex
	}
}
