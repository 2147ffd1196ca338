//go:build unix

package stores

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
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
	return Store{
		Name:    "redis-sentinel",
		TTL:     redisTTL,
		Expiry:  redisTTL + 100*time.Millisecond,
		Members: 2,
		// The sentinels take a second to find that the primary is down, vote, and do not try again within 10 s if
		// that came to nothing; and who has seen more than the store knows stands back for a TTL.
		Recovery: 15*time.Second + redisTTL,
		Forgets:  true,
		WentBack: redisWentBack,
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
	synced  int64 // when the replica was last seen to follow the primary
	open    bool  // the last lapse has not ended
	lapses  []Lapse
}

// follow asks a server for its role, again and again.
func (f *failovers) follow(ctx context.Context, node int, client *redis.Client) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		asked := time.Now()
		bounded, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		role, err := client.Do(bounded, "role").Slice()
		cancel()
		if err == nil && len(role) > 0 {
			f.note(node, role[0] == "master", len(role) > 3 && role[3] == "connected", asked, time.Now())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// note takes a server's word for what it was some time between two.
func (f *failovers) note(node int, primary, connected bool, from, to time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case node == f.primary && !primary && f.open: // the failover was undone before the old primary knew of it
		f.primary = 1 - node
		f.end(to)
	case node != f.primary && !primary && f.open: // the old primary has stepped down
		f.end(to)
	case node != f.primary && primary && !f.open:
		f.primary = node
		f.open = true
		f.lapses = append(f.lapses, Lapse{From: f.synced})
	}
	if node != f.primary && connected && !f.open {
		f.synced = from.UnixNano()
	}
}

func (f *failovers) end(at time.Time) {
	f.open = false
	f.lapses[len(f.lapses)-1].Ended = at.UnixNano()
}

func (f *failovers) leading() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.primary
}

// Lapses returns the failovers so far. One that has not ended goes on until now.
func (f *failovers) Lapses() []Lapse {
	f.mu.Lock()
	defer f.mu.Unlock()
	lapses := slices.Clone(f.lapses)
	if f.open {
		lapses[len(lapses)-1].Ended = time.Now().UnixNano()
	}
	return lapses
}
