//go:build unix

package linear

import (
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// call is one call to an adapter and what became of it.
type call struct {
	client int
	op     op // but for the time of its return
	began  int64
	failed bool // with an error that proves nothing
}

// recorder collects the calls for one key.
type recorder struct {
	mu    sync.Mutex
	calls []call
}

// record runs do and notes what it returned. do reports whether the outcome is known.
func (r *recorder) record(client int, o op, do func(*op) bool) {
	c := call{client: client, op: o, began: time.Now().UnixNano()}
	c.failed = !do(&c.op)
	c.op.ret = time.Now().UnixNano()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, c)
}

// operations makes of calls what porcupine checks. What is to be done about a call that failed, and may or may
// not have had an effect, depends on what it would have done:
//
//   - A campaign or a proclamation of which the value was observed did happen, before it was first seen to have. Such
//     a candidacy was given up when its call failed, and may end at any time. Where the value was never observed,
//     nobody can tell the difference: the call is left out.
//   - A renewal can only have lengthened the lease, and an observation has no effect: they are left out.
//   - A resignation may happen at any time after its call. It makes no difference any more once somebody is known to
//     have had a later token; so there it can be taken to end. That keeps the search small, and loses nothing.
func operations(calls []call) []porcupine.Operation {
	seen := make(map[string]op) // by value, the first time that it was
	for _, c := range calls {
		if first, ok := seen[c.op.value]; c.op.kind == observe && !c.failed && c.op.token != 0 && (!ok || c.op.ret < first.ret) {
			seen[c.op.value] = c.op
		}
	}
	var ops []porcupine.Operation
	for _, c := range calls {
		o := c.op
		if c.failed {
			first, happened := seen[o.value]
			switch o.kind {
			case campaign:
				o.token, o.until, o.ret = first.token, 0, first.ret
			case proclaim:
				o.ret = first.ret
			case resign:
				o.unsure, o.ret, happened = true, settled(calls, c), true
			default:
				happened = false
			}
			if !happened {
				continue
			}
		}
		ops = append(ops, porcupine.Operation{ClientId: c.client, Input: o, Call: c.began, Return: o.ret})
	}
	return ops
}

// expired counts the terms that nobody ever tried to resign, and that others followed: their leases ended by themselves.
func expired(calls []call) (n int) {
	var newest uint64
	resigned := map[uint64]bool{}
	for _, c := range calls {
		newest = max(newest, c.op.token)
		resigned[c.op.token] = resigned[c.op.token] || c.op.kind == resign
	}
	for _, c := range calls {
		if c.op.kind == campaign && !c.failed && !resigned[c.op.token] && c.op.token < newest {
			n++
		}
	}
	return n
}

// settled is when the token of c is first known to be one of the past.
func settled(calls []call, c call) int64 {
	at := int64(never)
	for _, other := range calls {
		if !other.failed && other.op.token > c.op.token {
			at = min(at, max(other.op.ret, c.began+1))
		}
	}
	return at
}
