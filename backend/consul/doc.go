// Package consul decides elections with Consul: the leader's session holds a lock on the key.
//
//	client, err := api.NewClient(api.DefaultConfig())
//	b, err := consul.New(client, consul.WithTTL(15*time.Second))
//
// # Layout, and sharing an election with Consul's own tools
//
// Whose session holds the key leads, and the key's value is what the leader announces, byte for byte. In the
// same transaction the session locks a sibling, key~term, whose value is the session's id, and which is
// not written to again while the term lasts: its ModifyIndex, the index of that transaction in the servers'
// log, is the fencing token. Both are deleted when the term ends, whichever way it ends.
//
// The key is locked as api.Lock does it, with the flags api.LockFlagValue, so that candidates of both kinds
// may stand side by side; whoever holds the key, the others wait:
//
//	lock, err := client.LockKey("service/swarm/leader")
//	consul lock service/swarm my-command       # stands for the key service/swarm/.lock
//
// Who resigns deletes both in one transaction, on the condition that each is as the term wrote it last, or is gone already. The indexes of those
// writes tell: that of the sibling is the token, which no other term has, not even the next one of the same session. If somebody else
// wrote to one of them meanwhile, both are read, and what the session still holds is deleted if it is as it was read.
//
// A leader that uses api.Lock has no sibling. Observers here give it the ModifyIndex of the key as its token,
// which lies between those of the terms before and after it; the native leader itself does not know it. (Not
// LockIndex: any plain write to the key sets that back to 0, and it counts anew after a deletion.) Mind
// that the native side may go on in the belief that it leads for minutes after it was cut off
// (hashicorp/consul#18271), and that its lock-delay of 15 s is kept for whoever comes after it crashed.
//
// A key that is free and holds something else than a lock, as its flags tell, is refused with a permanent
// error and left as it is. Nothing else should write to the key or its sibling.
//
// # What is not taken from api.Lock
//
// It renews its session without telling when, and does not notice that renewals fail; it reads the key with
// queries that block for minutes, whose failure it takes for the loss of the lock or not at all; all who wait
// write at once when the key is free, each write an entry in the servers' log; who comes too late for that
// sleeps for 5 s, whatever happens; and it has no token.
//
// # Sessions
//
// A Backend has one session for all its elections. It is made by the first Campaign, kept alive by those
// who wait and those who renew, three times per TTL however many they are, and nobody else: a Backend
// without elections sends nothing, and its session expires. A renewal also proves the term's record. Terms that
// renew at the same time, as they come to do by sharing the session's renewal, are proved together, 64 in a transaction: it
// has no other operations than checks, so that Consul runs it as a read, at one moment, writes nothing, and tells
// of each check that failed; and with the parameter consistent its leader first makes sure that it still leads. What is
// refused together for want of a right is asked again one by one.
//
// More terms than fit into a transaction are proved by one request at rest, whatever their number, if their keys have a folder in common:
// a list of the keys below the longest prefix that they share, without values, and consistent too. With it Consul tells the index of the
// last write or deletion below that prefix. A term is proved by a list that names its key and its sibling and tells the same index
// as the latest list before the term was last proved by itself: an entry that exists was not written to after the index of a list that
// names it, and whatever was written after the earlier list has a greater one; so both entries are as they were when the term was proved,
// held by the session, under the token. The list is asked for after each Renew that it answers was called. A change below the prefix, by whomever,
// has the terms proved by themselves once more, with the next renewal; and so is always what the list does not name.
// A list that fails, or takes longer than a thirtieth of the TTL, or of which more than half are other keys, or the third in a row
// that proved nothing, is followed by twenty TTLs without. To gather those who renew at the same time, their renewal
// goes out 20 ms after the first of them asked, if there are many.
//
// An election that stops renewing loses its key
// after a TTL even while others keep the session: with the next renewal its key is given up. When the
// session is gone, waiting candidates end with a passing error, and leaders with ErrLost after their record
// was read again; the next Campaign makes another session.
//
// The session has no health checks: with the check that Consul gives sessions by default, serfHealth, a
// moment of bad network between agents ends it at once, and the promise of the TTL with it. It is
// bound to the node of the agent that made it all the same: deregistering that node ends it. When it ends,
// what it holds is deleted, not only released (behavior "delete"): so a crashed leader leaves nothing
// behind either, above all no value that looks like an announcement. Indexes never go back, so
// deletion costs no order of tokens.
//
// # Time
//
// Consul ends no session before its TTL has passed since the last renewal arrived, and ends it after
// twice that. When the servers change their leader, all sessions start over with twice their TTL: a crashed
// holder's key then stays taken for longer, never shorter. TTLs are from 10 s to 24 h; an operator can set
// the lower bound higher (session_ttl_min), and the first Campaign is then refused with Consul's number.
//
// After a session that still held a key has ended, nobody may take that key for its lock-delay. Sessions
// here expire only long after their holder's term is over by its own clock, so after a crash the delay
// protects nobody and is time without a leader. It is for the other ends, when an operator
// destroys the session, or its node is deregistered, under a leader that is well: that leader is told at
// once, by the query on its key or on that of another term of the session, and the delay gives it time to stop. (Where all
// queries are needed for other keys, it is told by its next proof, which may come after the delay; where more keys are held than
// queries allowed, so is who loses one key alone.) For that a second is long, and so
// the default is a twentieth of the TTL, at most a second, which keeps the failover after a crash within
// 2.1 TTLs. WithLockDelay sets another; a TTL or more also covers a leader that is destroyed by hand and cut
// off at the same time; 0 is none. Consul keeps the delays in the memory of its leading server, and
// forgets them when that changes. A term that is resigned has no delay after it.
//
// Nobody queues: candidates win in no order. When a key gets free, a candidate that has met no other takes it with
// its next request, as api.Lock does; so a handover to a single follower is two writes, one to release and
// one to take, and nothing between them. That write is the proof of the win too: its answer holds the key and the
// sibling as they were written. Who came too late once lets a random while pass before the next try, asks for nothing meanwhile, and then
// looks whether the key is still free. The while is the longer, the longer it took Consul to refuse what came too late, as that tells how
// many want something of it. So does a look that takes long, and if the key is free still, another while passes. It is a
// few milliseconds at first, a quarter of a second at most; and the first of many picks a
// short one, so that of a thousand who wait a few dozen write, and of ten two. It is shortened by winning alone: when of many all
// have gone but one, that one may let the key lie for the quarter of a second once, then for less each time.
//
// # What Consul must be, and what it can lose
//
// Consul 1.14 or later (a transaction with "get-or-empty" is needed); tested with 1.16.1. All that decides
// is written through the servers' log or read consistently from a leader that has made sure that it leads.
// A majority of servers that fails and is restarted loses nothing. A cluster restored from a snapshot
// brings back the keys and sessions of then, which expire; leaders and candidates notice with their next renewal;
// tokens go on growing if it is the same cluster, and may repeat if it is a new one.
//
// A session is bound to the node of its agent. Consul's autopilot deregisters servers that have failed, and with them ends the
// sessions that were made through them, before their TTL: let candidates talk to agents of their own, or set
// autopilot's cleanup_dead_servers to false.
//
// # Connections
//
// Whoever waits for a key, observes it or holds it is told of changes by a query that blocks, one for each key, however many
// want to know. Each has a connection to itself, and an agent allows 200 from one address
// (limits.http_max_conns_per_client), for all programs there together; the next is refused, whatever it is for. So a Backend
// has at most 64 such queries (WithMaxQueries), and about a dozen connections for all else. Renewals and proofs, on which
// terms depend, wait neither for those queries nor for other requests. A client whose transport has a MaxConnsPerHost must allow
// as many. With three Backends or more on one address, that have many keys each, allow them fewer queries or raise
// the agent's limit.
//
// A query ends with the last one who wants to know. But who stops listening to a key that is held here is about to resign, as a
// rule: the query on it then goes on for a tenth of a second, on up to 8 keys and unless another key needs it, so that it is the
// deletion of the key that ends it, and nobody waits until it is broken off. None outlives the Resign of the term, or Close.
//
// The queries go to the keys that are waited for or observed, first come, first served; who comes too late gets the next one that
// is free, within a second. Keys without one are looked at together, every second, up to 128 in a request: a change of those is noticed within a
// second or a little more, and not at once, so that a handover takes as long too. Keys that are held here give their query away
// when another needs it, and are not looked at: their proofs, three per TTL, tell of a loss, and what this
// Backend itself does with them, those who observe them in it are told at once. A Backend that holds more keys than it may have queries
// keeps 8 of them for those, until it holds half as many as it may have queries: they tell at once that the session is gone,
// and with it all terms; that one key alone was taken away by hand is then told by its next
// proof, about a third of the TTL later at most. What others write into a key that is held here
// is then not seen by observers in this Backend before the term has ended.
//
// # Rights
//
// With ACLs on, a candidate needs to write the key, its sibling and sessions on the agent's node; an
// observer to read both keys:
//
//	key "service/swarm/leader"      { policy = "write" }
//	key "service/swarm/leader~term" { policy = "write" }
//	session "node-of-the-agent"     { policy = "write" }
//
// A token that Consul does not know, or that lacks a right, is told as ErrDenied, and not as permanent: a new
// token takes a moment to reach all servers. Whoever may write the keys can depose a leader and become one.
package consul
