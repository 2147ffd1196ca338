// Package rediskv decides elections with Redis: one record per election, which expires unless its holder
// renews it, and a counter that tokens are taken from.
//
//	client := redis.NewClient(rediskv.Options(&redis.Options{Addr: "10.0.0.1:6379"}))
//	b, err := rediskv.New(client, rediskv.WithTTL(15*time.Second))
//
// Clients of a single server, of Sentinel and of Cluster are taken. A client must let requests end with
// their context, and must not repeat them by itself: [Options], [FailoverOptions], [ClusterOptions] and
// [UniversalOptions] see to that, and New refuses a client of which it can see otherwise.
//
// After PoolSize dials that failed, go-redis asks once a second whether the server is back, and fails other
// requests at once until it is (internal/pool of v9.23). So a Backend may come back up to a second after its server, and one
// goroutine of the client may outlive its Close by as much.
//
// # What Redis can promise, and what it cannot
//
// Validity, as package election has it, needs a store that keeps what it acknowledged. A single Redis that
// writes its append-only file before it answers (appendonly yes, appendfsync always) does; on such a server
// terms exclude each other and tokens grow, through crashes and restarts too.
//
// Redis with replicas does not. Replication is asynchronous: a failover, by Sentinel or in a Cluster, can lose
// the last writes that were acknowledged, and then
//
//   - the record of a leader may be gone, or end sooner than its last renewal said, while that leader goes on
//     by its own clock: two hold valid terms for up to a TTL. A former primary that is cut off from the rest
//     goes on answering, and renewing, until it is told of the failover: then it is for a TTL after that, and
//     36 s were measured with a TTL of 4 s;
//   - the counter may go back, and a token be given out twice, so that two hold it at once, and the resource
//     cannot tell them apart.
//
// So with replicas an election on Redis is for efficiency: it keeps work from being done twice most of the
// time. It is for correctness only if the resource checks tokens and the deployment does not lose writes. WAIT
// does not mend that, nor does Redlock, which has no tokens. min-replicas-to-write with min-replicas-max-lag
// bounds how long a cut-off primary goes on; it narrows the window and does not close it.
//
// What this package does about it: a session remembers the highest token that it has seen of each key, as a
// candidate that waits or as an observer. If it finds the counter below that, it refuses to lead
// ([ErrDataLost]) for one TTL, the longest that it has seen of the key, until every term
// from before must be over by its holder's own clock, and then it raises the counter above what it has
// seen. So of terms that anybody still here has seen, no token is used again. What nobody here has seen, or what was
// lost without the counter's going back, such as a renewal, it cannot notice.
//
// The same counts for a server that keeps nothing (appendonly no) and restarts, for FLUSHALL, for a backup that
// is restored, and for appendfsync everysec, the default, where a crash of the machine loses about a
// second. A server with maxmemory needs the policy noeviction: allkeys-* may evict the counter, and the
// volatile policies the record of a leader.
//
// # Layout
//
// For the election a/b:
//
//	{a/b}:lease   hash: holder, candidacy, token, ttl (in ms), value; expires with the lease
//	{a/b}:fence   the counter, which never expires; do not delete it
//	{a/b}:events  channel: "won TOKEN TTL", "won TOKEN TTL LEFT BY" at each renewal, "value TOKEN",
//	              "released LISTENERS"; hints, never decisions
//
// The braces are a hash tag, so that both keys are in one slot of a Cluster. The value is what the candidate
// announces, byte for byte. Each write is one Lua script, on the condition that the record is the writer's own;
// a holder is the name of [WithName], if any, and a random part, and each of its candidacies has a number.
// Channels are shared by all databases of a server, keys are not.
//
//	redis-cli hmget '{service/swarm/leader}:lease' value token     # who leads
//	redis-cli del '{service/swarm/leader}:lease'                   # deposes the leader;
//	redis-cli publish '{service/swarm/leader}:events' deposed      # and tells everybody at once
//
// Without the second, the leader finds out with its next renewal, and candidates within a TTL of its last one. There is no recipe of
// Redis's own to share an election with, and other lock libraries use other keys: do not mix them.
//
// # Waiting
//
// Redis queues nobody: whoever tries first wins, and there is no order. Each Backend has one connection for the
// events of all its elections, while somebody waits, leads or observes. A release is told there; the more
// listen, the more they spread their tries, and the first to win is told to the rest, who then need not
// try. Nobody is told of an expiry in time (expired events may be late without bound), so who waits looks
// by itself when the holder's lease would have ended. Each renewal is told, with how long the lease had left then,
// and moves that look: so while the leader renews, Campaign and Observe make no requests, whether the message comes in
// time or late. Where it does not come, as from an earlier version of this package, they look once in two thirds
// of a TTL to a TTL; and they do once in ten TTLs whatever they are told. After a TTL without any event the connection
// is asked for a sign of life. Besides that, who waits sends nothing.
//
// Campaigns and resignations that come while others of the Backend are on their way gather, and go out in one round trip: a
// process with a thousand elections starts and stops with a handful of them, on a handful of connections. One that comes
// alone is sent at once, and a request that hangs holds others up for a sixtieth of the TTL, at most 100 ms. In a Cluster each
// is sent for itself, at once.
//
// Who leads or observes has no goroutine of its own here: [Lease.TellLoss] and [Backend.TellLeaders] tell by the
// connection's.
//
// A renewal proves the record by the same step. Those of several elections of a Backend find a common rhythm, and then go
// out in one round trip, as one script for 200 of them; in a Cluster, where each needs its own, as one pipeline for each
// server. For that, a Grant may count from what another election sent shortly before, which makes it shorter, once: a win's by
// a tenth of the TTL at most, a renewal's by half of the time between two.
//
// # Time
//
// Redis ends a lease exactly when its TTL has passed since the last renewal, by its own wall clock: a clock that is set
// forward there ends leases early. TTLs are whole milliseconds from 100 ms on; mind that a server forks to save,
// and that a script of somebody else's may block it.
//
// # Rights
//
// A candidate, an observer, and what a client needs besides under Cluster:
//
//	ACL SETUSER candidate on >… resetkeys ~{service/swarm/leader}:* resetchannels &{service/swarm/leader}:events -@all +evalsha +eval +hmget +exists +get +set +incr +hset +pexpire +pttl +del +publish +pubsub|numsub +subscribe +unsubscribe +ping
//	ACL SETUSER observer  on >… resetkeys %R~{service/swarm/leader}:lease resetchannels &{service/swarm/leader}:events -@all +hmget +pttl +subscribe +unsubscribe +ping
//	ACL SETUSER candidate +cluster|slots +command
//
// %R~ (reading only) is of Redis 7; before, write ~. Whoever may write the keys can depose a leader and become one;
// whoever may publish can make candidates look, or look late, by ten TTLs at most, and nothing more.
//
// Redis 6.2 or later, and Valkey, should do; it is tested with Redis 7.0.15. Redis 7 or later is recommended.
package rediskv
