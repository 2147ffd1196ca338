package etcd

import (
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A candidate of election key is the record key/<lease id in hex>, as package concurrency writes it.
// All of them lie under the prefix key/, and so do the candidates of an election whose name goes on
// below key, such as key/b. What tells them apart is the depth: a candidate is a direct child.

// maxLeaseDigits is how many hex digits a lease id, an int64, can have.
const maxLeaseDigits = 16

// prefix is what the records of all candidates of key begin with.
func prefix(key string) string { return key + "/" }

// isCandidate reports whether path is the record of a candidate of key, ours or that of a stranger who
// uses package concurrency or etcdctl, and not of an election nested below key.
func isCandidate(key, path string) bool {
	id, ok := strings.CutPrefix(path, prefix(key))
	if !ok || id == "" || len(id) > maxLeaseDigits {
		return false
	}
	for i := range len(id) {
		if c := id[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// nestedAllowance is how many records are asked for where one is needed: records of elections nested
// below the key can stand before the one that counts. A query that finds only those is repeated
// without a bound, so the number is about speed alone.
const nestedAllowance = 16

// upTo asks for the candidate of key that was created at revision rev and those that stand before it, in this
// order, the nearest first, at most limit records (0: all). Only the keys are fetched.
func upTo(key string, rev, limit int64) clientv3.Op {
	return clientv3.OpGet(prefix(key), clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithMaxCreateRev(rev),
		clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortDescend), clientv3.WithLimit(limit))
}

// first returns the first candidate of key among kvs, or nil.
func first(key string, kvs []*mvccpb.KeyValue) *mvccpb.KeyValue {
	for _, kv := range kvs {
		if isCandidate(key, string(kv.Key)) {
			return kv
		}
	}
	return nil
}
