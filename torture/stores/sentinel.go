//go:build unix

package stores

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/rediskv"
	"github.com/hustings-go/hustings/internal/servers"
)

// sentinelStore is Redis with a replica, which three sentinels make the primary when that is down: an asynchronous
// failover, that may lose the last writes.
func sentinelStore() Store {
	const ttl = 2 * redisTTL // longer than a failover takes, or what that loses would have ended anyway
	return Store{
		Name:    "redis-sentinel",
		TTL:     ttl,
		Expiry:  ttl + 100*time.Millisecond,
		Members: 2,
		// The sentinels take a second to find that the primary is down, vote, and do not try again within 10 s if
		// that came to nothing; and who has seen more than the store knows stands back for a TTL.
		Recovery: 15*time.Second + ttl,
		Forgets:  true,
		WentBack: redisWentBack,
		Standing: redisStanding,
		Open:     openSentinel,
		Start:    startSentinel,
	}
}

// openSentinel takes every server's address for the way that leads there. The last server is a sentinel.
func openSentinel(_ context.Context, ways []Way, ttl time.Duration) (backend.Backend, func(), error) {
	hush()
	return redisSession(redis.NewFailoverClient(rediskv.FailoverOptions(&redis.FailoverOptions{
		MasterName: servers.RedisMaster, SentinelAddrs: []string{ways[len(ways)-1].Server}, ClientName: processName(),
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			i := slices.IndexFunc(ways, func(w Way) bool { return w.Server == addr })
			if i < 0 {
				return nil, fmt.Errorf("there is no way to %s", addr)
			}
			return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, ways[i].Addr)
		},
	})), ttl)
}

// sentinelCluster is a primary and a replica, and what was seen of their failovers.
type sentinelCluster struct {
	redisServer // by way of the sentinels
	sentinels   []string
	nodes       []*redis.Client // to each member
	failovers
}

func startSentinel(t testing.TB, _ int) Cluster {
	t.Helper()
	hush()
	s := servers.StartRedisSentinel(t)
	c := &sentinelCluster{sentinels: s.Sentinels()}
	c.client = redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: servers.RedisMaster, SentinelAddrs: s.Sentinels(), ContextTimeoutEnabled: true, DialTimeout: time.Second,
	})
	t.Cleanup(func() { _ = c.client.Close() })
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var watching sync.WaitGroup
	for i, node := range s.Nodes() {
		client := redis.NewClient(&redis.Options{Addr: node.Endpoint(), ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1})
		t.Cleanup(func() { _ = client.Close() })
		c.members = append(c.members, node)
		c.nodes = append(c.nodes, client)
		watching.Go(func() { c.follow(ctx, i, client) })
	}
	t.Cleanup(func() {
		cancel()
		watching.Wait()
	})
	return c
}

// Known is both servers and a sentinel.
func (c *sentinelCluster) Known(i, _ int) []string {
	return append(around(c.members, 0, len(c.members)), c.sentinels[i%len(c.sentinels)])
}

// MoveLeader has the sentinels make the replica the primary, without asking whether that is down.
func (c *sentinelCluster) MoveLeader(ctx context.Context) error {
	sentinel := redis.NewSentinelClient(&redis.Options{Addr: c.sentinels[0], ContextTimeoutEnabled: true})
	return errors.Join(sentinel.Failover(ctx, servers.RedisMaster).Err(), sentinel.Close())
}

// Split shuts the replica out of the primary.
func (c *sentinelCluster) Split(ctx context.Context) (leading int, _ error) {
	leading = c.leading()
	node := c.nodes[leading]
	if err := node.Do(ctx, "acl", "setuser", servers.RedisReplicator, "off").Err(); err != nil {
		return 0, err
	}
	return leading, node.Do(ctx, "client", "kill", "type", "replica").Err()
}

func (c *sentinelCluster) Join(ctx context.Context) error {
	var errs []error
	for _, node := range c.nodes {
		errs = append(errs, node.Do(ctx, "acl", "setuser", servers.RedisReplicator, "on").Err())
	}
	return errors.Join(errs...)
}

// failovers is what the roles of two servers tell of their failovers.
type failovers struct {
	mu      sync.Mutex
	primary int
	since   int64 // when it was seen to have taken over
	led     int64 // when it was last seen to lead
	synced  int64 // when the replica was last seen to follow the primary
	open    bool  // a failover has begun, and the old primary may still answer as one
	stale   bool  // the old primary has died, and does not know yet that it is none
	lapses  []Lapse
}

// unheard is for how long a server has not answered when it is taken to have stood still: longer than a request that
// hung, and the pause until the next.
const unheard = time.Second

// follow asks a server for its role, again and again.
func (f *failovers) follow(ctx context.Context, node int, client *redis.Client) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		asked := time.Now()
		bounded, cancel := context.WithTimeout(ctx, unheard/2)
		role, err := client.Do(bounded, "role").Slice()
		cancel()
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			f.died(node)
		case err == nil && len(role) > 0:
			f.note(node, role[0] == "master", len(role) > 3 && role[3] == "connected", asked.UnixNano(), time.Now().UnixNano())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// note takes a server's word for what it was some time between two.
func (f *failovers) note(node int, primary, connected bool, from, to int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := len(f.lapses) - 1
	switch {
	case node == f.primary && primary:
		f.led = to
	case node == f.primary: // the other one leads again, which has never followed this one
		f.lapses = append(f.lapses, Lapse{From: f.synced, Again: f.since, Ended: f.led + int64(unheard)})
		f.primary, f.since, f.led = 1-node, f.synced, to
		f.open, f.stale = false, false
	case primary && f.open: // it goes on, or again
		if to-f.lapses[last].Ended > int64(unheard) {
			f.lapses = append(f.lapses, Lapse{From: f.lapses[last].From, Again: from - int64(unheard)})
			last++
		}
		f.lapses[last].Ended = to
	case primary && !f.stale:
		f.primary, f.since, f.led, f.open = node, to, to, true
		f.lapses = append(f.lapses, Lapse{From: f.synced, Again: f.synced, Ended: to})
	case !primary:
		if f.open && to-f.lapses[last].Ended < int64(unheard) {
			f.lapses[last].Ended = to
		}
		f.open, f.stale = false, false
		if connected {
			f.synced = from
		}
	}
}

// died notes that a server is gone. When it is back, the sentinels send nobody to it before it has followed.
func (f *failovers) died(node int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if node != f.primary && f.open {
		f.open, f.stale = false, true
	}
}

func (f *failovers) leading() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.primary
}

// Lapses returns what there was so far.
func (f *failovers) Lapses() []Lapse {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.lapses)
}
