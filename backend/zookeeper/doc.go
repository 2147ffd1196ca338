// Package zookeeper decides elections with ZooKeeper: an ephemeral, sequential node per candidate, first
// come first served.
//
//	b, err := zookeeper.New([]string{"10.0.0.1:2181", "10.0.0.2:2181", "10.0.0.3:2181"}, zookeeper.WithTTL(15*time.Second))
//
// # Layout, and sharing an election with Curator
//
// A candidate for key is the node <root>/<key>/_c_<id>-latch-<sequence number>, its data what the candidate announces,
// byte for byte. The candidate with the lowest number leads, and the id of the transaction that created its
// node, the czxid in its Stat, is the fencing token. This is the layout of Curator's LeaderLatch,
// which stands in the same queue: new LeaderLatch(client, "/service/swarm/leader", id) is a candidate for the key
// service/swarm/leader of a Backend made WithRoot("/"). A LeaderLatch announces its id. It has no deadline,
// and steps down when its client notices that the connection is gone, which may be later than its node is (see below).
//
// An election cannot be shared with zk.Lock of go-zookeeper, nor with Curator's LeaderSelector and InterProcessMutex: they
// call their nodes otherwise, and zk.Lock fails where it finds ours. What stands below <root>/<key> and is no
// candidate by its name, such as the nodes of election key/b, does not count, and a key that would make one look
// like a candidate is refused. The nodes above the candidates are containers, which the servers remove some
// time after the last candidate has left; an empty one that was made and never used stays.
//
// Sequence numbers are signed 32-bit numbers that the node of the election counts. After 2,147,483,647 candidates
// they would become negative, and the next candidate would stand before the leader. Then Campaign and Observe fail with
// a permanent error, until the node was deleted.
//
// # Sessions
//
// A Backend has one session, and a client of go-zookeeper of its own for it. The client is made by the first call, and
// ended by Close; a Backend must be closed. It pings three times per TTL, for as long as it runs, so nothing
// in the store ends for want of renewal alone: the Backend has a timer for that, and deletes the node of a term that nobody
// has renewed for a TTL, and what an earlier candidacy has left behind. If it cannot within a TTL, it
// gives the session up: nothing is renewed on it any more, and it ends when what was granted is over. Where a server
// hears the client and the client not the server, its attempts to connect again are what keeps the session alive; so it ends at once when
// the last term on it is over. When the session has expired, waiting candidates end with a passing error, and leaders with
// ErrLost; the next Campaign makes another session with another client. Loss of the connection alone is no
// loss: the client finds another server, and until then the term's deadline stands.
//
// # Time
//
// A server that is cut off from its ensemble goes on answering pings and reads, for as long as
// syncLimit ticks, while the others let the session expire and give the key away. So a renewal is a write:
// it goes through the ensemble's leader, and a majority. It is a transaction that only checks for
// the node, so that nobody who watches the node wakes.
//
// An acknowledged write alone proves too little all the same. The leader keeps the time of all sessions, and what
// counts as a sign of life for one whose client is connected to another server is not that client's write, which
// is passed on and merely refused once the session is gone. It is the answer to the leader's own ping, sent every half tick
// to each server, that lists the sessions which were heard of since the last one. So a write that succeeds may be the last
// thing before the session expires. But answers to pings and writes reach the leader in order. Say that the client
// sent something at time s, and had the answer by a; that a tick later, or more, it sent a write; and that the write was acknowledged.
// Between a and the write the server has answered a ping of the leader's, which is due twice in a tick; with that the leader
// heard of the session, before the write; and as what it heard of was sent at s or later, it lets the session live until s plus the
// session timeout, rounded up to a tick. If there was another connection in between, the leader itself vouched for
// the session when it was made, and that counts from the client's greeting.
//
// That is what a Grant tells: Sent is when the write was sent, and TTL the session timeout, less the time since the latest s that
// was answered a tick earlier. Pings of the client count, which are seen on the wire; so a grant is worth at least
// two thirds of the session timeout less a tick, and most of it when renewals follow each other. Two things
// are taken for granted: that the tick is no longer than WithTick says, 2 s if nothing is said; and that a
// leader's pings come no less often than once in a tick. A TTL has at least four ticks, 8 s by ZooKeeper's
// defaults, so that enough is left.
//
// Terms that renew at the same time are proved in one transaction, up to a hundred of them, and come to renew at the same time: a
// renewal less than a fifth of the TTL after another term's is proved by a write of its own, but its Grant counts from when the other's was
// sent, which promises less, and so both are due together from then on; so do wins, where that is no more than a tenth of a TTL ago. A
// transaction that fails for the sake of one node proves
// nothing of the others, which are then asked for alone. A thousand terms cost some three requests a second at 15 s.
//
// The store ends a session up to two ticks after its timeout, never before. When the ensemble changes its leader all sessions
// start over with their full timeout: a crashed holder's key then stays taken for longer, never shorter.
// Acknowledged writes survive as long as a majority of the servers keeps its data (leave forceSync on); an ensemble that is restored
// from a backup may go back in transactions, and so in tokens.
//
// # Handover
//
// A handover is one write, the deletion of the leader's node. Who saw only the leader before itself has won by that transaction, and
// has nothing to ask when it is told of it. Nobody can get in before a node that exists. Its own node was there when the
// leader's went: it was seen and watched over the same connection, events come over a connection in the order of transactions, and
// its end was not told before. But an event proves nothing of the present; a server that is cut off may tell it late.
// What does is a grant, which says how long the session lives, and with it its nodes, whatever key it was asked for. So a win goes by
// the latest grant that any write of its session has brought, if that is less than a quarter of the TTL old and was worth half of it at least: by
// the creation of the node, the renewal of another term, or a proof that is made for this. While somebody on a session waits right behind a leader, the
// session proves itself whenever its latest grant is a fifth of the TTL old, with one request for all of them. The Grant of a win tells
// when that write was sent, so that nobody leads for longer by it, and renews the sooner.
//
// Who is further back proves nothing. It is woken when one of the two nodes before its own goes, and looks at the queue, so as to know when it is
// next, and so that no more than two are woken at a time. If it is the first by then, it wins by the same reckoning.
//
// Where there is no such grant, after a stop of the process for one, and where there was another connection in between, on which the client is
// told in any order what happened meanwhile, a write proves the node, as a renewal does, and the win counts from that. On a
// new connection who is next sees to its own node again, so that the next handover needs no write.
//
// The native recipe, zk.Lock, reads the queue, from whichever server the client is connected to; a lock taken that
// way may be gone from the ensemble already, and it has no deadline.
//
// What is not excluded is somebody who deletes the nodes of the leader and of the next in one transaction, in this order. The
// next is told of the one after the other: it may win in between, and is then told at once that it has lost, as any leader whose node is deleted.
//
// # At rest
//
// While nothing happens a session pings, three times per TTL, and proves its terms; one on which somebody is next proves itself five times per
// TTL; who else waits or observes sends nothing. All
// that is watched is watched once for the whole Backend, and nobody waits for an event: the client tells of all in one
// place, and who leads or observes takes a turn then, in a goroutine that ends with it. (Campaign waits in its
// caller's.) The client has the watches set again on each new connection, but as of what it heard last, which may
// be more than it told; so observers read again after that. Where there is no connection for a third of a TTL, all who
// wait or observe ask, to be told why. In case that a watch fell silent for a reason that nobody
// knows of, a candidate that waits looks at the node before its own, and an observer at the leader, after four TTLs without any
// event. Who leads does not depend on it: what wakes a candidate so has it look at the queue.
//
// The client's buffers, for the longest request and the longest answer, have some 320 kB at first, which all elections of a Backend share. They
// grow with the first value of more than 64 kB, by a megabyte, and with the first list of more than a thousand candidates, by what
// it is longer, and stay so until the session ends. There is no limit to a list but what the server sends and the memory that there is; that of
// a value is MaxValueLen, which Campaign and Proclaim refuse to exceed before anything is sent.
//
// # Rights
//
// A candidate needs the rights to create, delete and read below <root>/<key>, and on <root> to create the nodes above it where
// they are missing, an observer to read. Candidates that cannot read each other's nodes
// watch all that stand below the key, and each of them looks whenever one comes or goes. Whoever may
// write or delete the nodes can depose a leader; whoever may create them can become one. Restrict with WithAuth and WithACL, for example
// zk.DigestACL; the ACL is given to each node that is created.
//
// ZooKeeper 3.5.3 or later is needed, which has containers; it was tested with 3.8.0.
package zookeeper
