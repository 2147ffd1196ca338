//go:build unix

package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// ZooKeeperCluster is an ensemble: members that replicate one store.
type ZooKeeperCluster struct {
	t       testing.TB
	members []*ZooKeeper
	links   []*Proxy // from the first member to the others, if they can be cut
}

// ZooKeeperCuttable lets [ZooKeeperCluster.CutOff] cut the first member off from the others.
func ZooKeeperCuttable() ZooKeeperOption {
	return func(c *zooKeeperConfig) { c.cut = true }
}

// StartZooKeeperCluster starts an ensemble of n members, and waits until all serve.
func StartZooKeeperCluster(t testing.TB, n int, opts ...ZooKeeperOption) *ZooKeeperCluster {
	t.Helper()
	var config zooKeeperConfig
	for _, opt := range opts {
		opt(&config)
	}
	c := &ZooKeeperCluster{t: t}
	for range n {
		c.members = append(c.members, newZooKeeper(t))
	}
	for i, z := range c.members {
		data := filepath.Join(z.dir, "data")
		if err := errors.Join(os.MkdirAll(data, 0o755), os.WriteFile(filepath.Join(data, "myid"), fmt.Append(nil, i+1), 0o600)); err != nil {
			t.Fatal(err)
		}
		var peers []string
		for j, peer := range c.members {
			quorum := peer.quorum
			if config.cut && i == 0 && j != 0 {
				link := StartProxy(t, loopback(peer.quorum))
				c.links = append(c.links, link)
				quorum = link.port
			}
			peers = append(peers, fmt.Sprintf("server.%d=127.0.0.1:%d:%d;127.0.0.1:%d", j+1, quorum, peer.election, peer.client))
		}
		z.start(t, fmt.Sprintf("zookeeper%d", i), peers, opts)
	}
	c.WaitReady()
	return c
}

// Member returns the member with index i, from 0.
func (c *ZooKeeperCluster) Member(i int) *ZooKeeper { return c.members[i] }

// Endpoints returns the addresses of all members for clients.
func (c *ZooKeeperCluster) Endpoints() []string {
	var endpoints []string
	for _, z := range c.members {
		endpoints = append(endpoints, z.Endpoint())
	}
	return endpoints
}

// WaitReady waits until all members serve.
func (c *ZooKeeperCluster) WaitReady() {
	c.t.Helper()
	for _, z := range c.members {
		z.WaitReady()
	}
}

// Leader waits until one of the members leads, and returns it.
func (c *ZooKeeperCluster) Leader() *ZooKeeper {
	c.t.Helper()
	var leader *ZooKeeper
	Await(c.t, "a member to lead", func(ctx context.Context) error {
		for _, z := range c.members {
			if mode, err := z.mode(ctx); err == nil && mode == "leader" {
				leader = z
				return nil
			}
		}
		return errors.New("none does")
	})
	return leader
}

// CutOff stops all that the first member and the leader of the others say to each other, without a word to
// either. The clients of both still reach them. It takes [ZooKeeperCuttable], and a leader among the others.
func (c *ZooKeeperCluster) CutOff() {
	c.t.Helper()
	if len(c.links) == 0 || c.Leader() == c.members[0] {
		c.t.Fatal("the first member cannot be cut off: it leads, or the ensemble was not started as cuttable")
	}
	for _, link := range c.links {
		link.Cut()
	}
}

// Rejoin undoes CutOff.
func (c *ZooKeeperCluster) Rejoin() {
	c.t.Helper()
	for _, link := range c.links {
		link.Heal()
	}
}
