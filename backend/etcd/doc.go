// Package etcd decides elections with etcd: a record per candidate, attached to a lease, first come first
// served.
//
//	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second})
//	b, err := etcd.New(client, etcd.WithTTL(15*time.Second))
//
// # Layout, and sharing an election with etcd's own tools
//
// A candidate for key is the record key/<lease id in hex>, its value what the candidate announces, byte
// for byte. Of the records right below key/ the one with the lowest create revision leads, and that
// revision is the fencing token. This is the layout of concurrency.NewElection(session, key) and of
// etcdctl elect, which stand in the same queue and follow the same leader:
//
//	etcdctl elect --listen service/swarm/leader
//	etcdctl elect service/swarm/leader my-proposal
//
// etcdctl lock and concurrency.Mutex use the layout too: a lock of the same name is a candidate like any
// other, with an empty value. Nothing else should be written right below key/. Mind that Election.Campaign
// of package concurrency counts everything below key/, so that a native candidate for a waits behind those
// of a/b; ours does not. It can also return without holding anything when its lease was lost
// while it waited (etcd-io/etcd#19597, #22387); the fencing token tells such a leader from a true one.
//
// # What is taken from package concurrency, and what is not
//
// Taken are the layout, concurrency.Session as the name of the lease towards Election, and of
// concurrency.Election the two writes of a candidate that has a record, Proclaim and Resign: each is one
// transaction on the condition that the record still has its create revision. Not taken are
//
//   - Election.Campaign: it returns without looking at its own record, waits on when that is gone, takes
//     over a record of an earlier campaign, leaves its own behind after errors, and counts the candidates
//     of elections nested below the key;
//   - Election.Observe and Leader, which do not tell that nobody leads, and count nested ones as well;
//   - the keep-alive of Session: it runs for as long as the process does, so that the key of an election
//     that has stopped renewing would never expire, and it does not tell when a keep-alive was sent, which
//     the deadline of a term is counted from. The Session is orphaned as soon as it is made; it leaves
//     the client with one keep-alive stream open, on which nothing is sent.
//
// # Watches
//
// All that a Backend waits for, its own records, those before them and those of who it observes, is watched on one stream of
// the client's connection, because the client's own Watch has a goroutine and a queue for each key: so TLS, login,
// endpoints and interceptors are the client's, and its Watch is not called. Where its Watcher is not the one it was born
// with, as with package namespace, or where it has no connection, within a server's process, that Watcher is used, at its price.
//
// A candidate before which only one other stands watches that record and its own by one watch, of the range from the one to
// the other. When that tells that the other record was deleted, and not that its own was, the candidate has won, and asks
// nothing. Nobody gets in before a record that is there, because revisions only grow: so its own is the first from the revision
// of that deletion on, if it stood then. It did. A lease that ends, by time or by somebody's hand, leaves a deletion as well; and
// of one watch etcd promises that it tells everything, in the order of the revisions, and of one revision in one piece. (Two
// watches hear of one revision in any order, and one of them may be behind the other.) So the win is linearizable, at that
// revision. A record that goes later is that of a leader who lost it: the same watch goes on and tells, and its fencing token is
// older than the next one's. Unless somebody ends it by hand, the record stays for as long as the Grant says, which is at most a
// third of the TTL old then; where it is older, the place is read.
//
// A stream that breaks is opened again at once, and nothing is missed. If that fails within the bound of a request (a third of
// the TTL, at most 5 s), or if it breaks again that soon, those who lead and those who observe are told, once, of an error that
// passes; those who wait keep their place, and watch again as soon as their session was kept alive. The member must
// know a leader; when it does not, all of them end with a passing error. A token that expires is replaced, with the
// stream that was opened with it.
//
// # Sessions
//
// A Backend has one lease for all its elections. It is made by the first Campaign, kept alive by those
// who wait and those who renew, three times per TTL however many they are, and nobody else: a Backend
// without elections sends nothing, and its lease expires. With each renewal a leader reads its record, and once
// per TTL those who wait and those who observe look whether a watch fell silent. What many of them ask
// at the same time is one transaction, of up to 256 terms: 128 records are compared and 128 read (--max-txn-ops is 128 by
// default, and fewer are asked for where it is less). Nested transactions would hold thousands, but etcd takes one that has any for a
// write, and would keep each round of reads in its log.
//
// More terms than that are proved by one read, whatever their number, if their keys have a folder in common: a linearizable read of the
// range from the first record to the last, without values, of what was written since an earlier one, which also tells how many
// keys there are. Where their number has changed by no more than what was created, nothing that was there has gone, and whoever stood
// at the earlier revision stands. When something was deleted in the range, by whomever, each term's record is asked for once
// more. A range that may not be read, or has more than four times as many keys as records, and the third read in a row that
// proved nothing, are followed by twenty TTLs without. To gather those who renew at the same time, their question goes out 20 ms after the
// first of them asked, where more than 256 lead or wait.
//
// An election that stops renewing loses its key
// after a TTL even while others keep the lease: with the next keep-alive its record is deleted. When the
// lease is gone, waiting candidates end with a passing error, and leaders with ErrLost after their record
// was read again; the next Campaign makes another lease.
//
// # Time
//
// etcd never ends a lease before its TTL has passed since the last keep-alive arrived, and ends it up to
// about half a second later. When the cluster changes its leader, all leases start over with their full TTL
// and an election timeout on top (etcd-io/etcd#9888): a crashed holder's key then stays taken for longer, never
// shorter. The shortest TTL is ceil(1.5 × election timeout), 2 s by default; shorter ones are raised, and
// the Grant says so. Run etcd 3.5.28 or 3.6.9 or later: before 3.4.31 and 3.5.13 a paused former leader could
// revoke leases that had been renewed with its successor (etcd-io/etcd#12528, #15247). A cluster
// restored from a backup may go back in revisions, and so in tokens; restore with --bump-revision and
// --mark-compacted.
//
// # Rights
//
// With authentication on, a candidate needs readwrite on the range from key/ to key0 (the prefix key/), an
// observer read on the same:
//
//	etcdctl role grant-permission candidate readwrite --prefix=true service/swarm/leader/
//	etcdctl role grant-permission observer read --prefix=true service/swarm/leader/
//
// Leases need no right of their own, but to revoke one takes the right to write all keys on it, and so
// does, in newer versions (3.7.3 is one), keeping it alive: whoever loses the right to one key then loses, after a TTL, all
// that its Backend holds. Whoever may write below key/ can depose a leader and become one.
package etcd
