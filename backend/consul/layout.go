package consul

import (
	"slices"

	"github.com/hashicorp/consul/api"
)

// The leader of election key holds two entries, both locked by its session and written in one transaction:
// the key itself, whose value is what the leader announces, and a sibling, whose value is the session's id
// and whose modify index is the fencing token. The key is what api.Lock locks too. The sibling is there
// because the key's own modify index changes with every value, and its LockIndex falls back to 0 with a plain
// write; nothing is written to the sibling while the term lasts.

// siblingSuffix makes the sibling's name. The grammar of keys has no "~", so it is no election's key.
const siblingSuffix = "~term"

func sibling(key string) string { return key + siblingSuffix }

// record is what stands in the store for an election at one moment. Entries that do not exist are zero.
type record struct {
	lead, term api.KVPair
}

func exists(kv *api.KVPair) bool { return kv.CreateIndex != 0 }

// entry tells one state of a key from all others: what is written to it changes it.
type entry struct{ created, modified uint64 }

func entryOf(kv *api.KVPair) entry { return entry{kv.CreateIndex, kv.ModifyIndex} }

// held reports whether somebody leads.
func (r *record) held() bool { return r.lead.Session != "" }

// sameTerm reports whether a key that is held is so since the same moment in a and b.
func sameTerm(a, b *api.KVPair) bool {
	return a.Session == b.Session && a.CreateIndex == b.CreateIndex && a.LockIndex == b.LockIndex
}

// isTerm reports whether the record is the term of session with token.
func (r *record) isTerm(session string, token uint64) bool {
	return r.lead.Session == session && r.term.Session == session && r.term.ModifyIndex == token
}

func kv(verb api.KVOp, key string) *api.KVTxnOp { return &api.KVTxnOp{Verb: verb, Key: key} }

func ops(all ...*api.KVTxnOp) api.TxnOps {
	txn := make(api.TxnOps, len(all))
	for i, op := range all {
		txn[i] = &api.TxnOp{KV: op}
	}
	return txn
}

// reads reports whether a transaction writes nothing.
func reads(txn api.TxnOps) bool {
	return !slices.ContainsFunc(txn, func(op *api.TxnOp) bool {
		return op.KV.Verb != api.KVGetOrEmpty && op.KV.Verb != api.KVCheckSession && op.KV.Verb != api.KVCheckIndex
	})
}

// acquiring locks the key and the sibling, if the key is free. Whatever sibling there was is deleted first:
// one of a session that has lost the key to an operator and does not know yet would be in the way; and one
// of this same session would be the same entry once more, which Consul does not write, so that
// the token would be the old one.
func acquiring(key, session string, value []byte) api.TxnOps {
	return ops(locking(key, session, value), kv(api.KVDelete, sibling(key)), locking(sibling(key), session, []byte(session)))
}

func locking(key, session string, value []byte) *api.KVTxnOp {
	return &api.KVTxnOp{Verb: api.KVLock, Key: key, Value: value, Flags: api.LockFlagValue, Session: session}
}

// proving succeeds while the term of session with token lasts. It is a read, and brings no values.
func proving(key, session string, token uint64) []*api.KVTxnOp {
	return []*api.KVTxnOp{
		{Verb: api.KVCheckSession, Key: key, Session: session},
		{Verb: api.KVCheckIndex, Key: sibling(key), Index: token},
	}
}

// proclaiming writes value if the term lasts, and nothing to the sibling.
func proclaiming(key, session string, token uint64, value []byte) api.TxnOps {
	return ops(append(proving(key, session, token), locking(key, session, value))...)
}

// releasing deletes both entries if each is as the term wrote it last, at index and at token, or is gone already. So it deletes nothing of
// any other term, and afterwards there is nothing of this one. A deletion is followed by no lock-delay.
func releasing(key string, index, token uint64) api.TxnOps {
	return ops(&api.KVTxnOp{Verb: api.KVDeleteCAS, Key: key, Index: index},
		&api.KVTxnOp{Verb: api.KVDeleteCAS, Key: sibling(key), Index: token})
}

// clearing deletes what session holds of r, as long as all of r is as it was read. It is nil if it holds
// nothing.
func clearing(key, session string, r *record) api.TxnOps {
	var checks, deletions []*api.KVTxnOp
	for _, e := range []struct {
		key string
		kv  *api.KVPair
	}{{key, &r.lead}, {sibling(key), &r.term}} {
		if exists(e.kv) {
			checks = append(checks, &api.KVTxnOp{Verb: api.KVCheckIndex, Key: e.key, Index: e.kv.ModifyIndex})
		} else {
			checks = append(checks, kv(api.KVCheckNotExists, e.key))
		}
		if e.kv.Session == session {
			deletions = append(deletions, kv(api.KVDelete, e.key))
		}
	}
	if deletions == nil {
		return nil
	}
	return ops(append(checks, deletions...)...)
}
