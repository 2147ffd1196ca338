//go:build unix

package stores

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/consul"
	"github.com/hustings-go/hustings/internal/faults"
	"github.com/hustings-go/hustings/internal/servers"
)

func consulStore() Store {
	const ttl = consul.MinTTL
	return Store{
		Name: "consul",
		TTL:  ttl,
		// Two TTLs, and then the lock-delay, which the backend sets to a twentieth of the TTL, and the pause before the
		// try that comes after it.
		Expiry:  2*ttl + ttl/20 + ttl/20,
		Members: 3,
		// A server that starts, and elections of the cluster's leader. Sessions start over then, with the two
		// TTLs that Expiry has already.
		Recovery: 10 * time.Second,
		WentBack: tookBack,
		Standing: func(n int) int { return n + 2 }, // a session each, and the leader's two entries
		Open:     openConsul,
		Start:    startConsul,
	}
}

func openConsul(_ context.Context, ways []Way, ttl time.Duration) (backend.Backend, func(), error) {
	client, done, err := consulClient(addrs(ways))
	if err != nil {
		return nil, nil, err
	}
	b, err := consul.New(client, consul.WithTTL(ttl))
	if err != nil {
		done()
		return nil, nil, err
	}
	return b, done, nil
}

// consulClient makes a client whose connections go to one address after the other, as a load balancer would have
// it: Consul's own client knows one address only.
func consulClient(addrs []string) (*api.Client, func(), error) {
	var turn atomic.Uint64
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addrs[turn.Add(1)%uint64(len(addrs))])
	}}
	client, err := api.NewClient(&api.Config{Address: addrs[0], HttpClient: &http.Client{Transport: transport}})
	if err != nil {
		return nil, nil, err
	}
	return client, transport.CloseIdleConnections, nil
}

// consulCluster is a cluster with an operator's client for each server.
type consulCluster struct {
	members []faults.Server
	clients []*api.Client
}

func startConsul(t testing.TB, members int) Cluster {
	t.Helper()
	// Sessions are bound to the node of the agent that made them, and end when it is deregistered. Candidates here
	// talk to the servers' own agents, not to some of their own; autopilot must not deregister those as soon
	// as they are down.
	keep := map[string]any{"autopilot": map[string]any{"cleanup_dead_servers": false}}
	cluster := servers.StartConsulCluster(t, members, servers.ConsulSettings(keep))
	c := &consulCluster{}
	for i := range members {
		member := cluster.Member(i)
		client, done, err := consulClient([]string{member.Endpoint()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(done)
		c.members = append(c.members, member)
		c.clients = append(c.clients, client)
	}
	return c
}

func (c *consulCluster) Members() []faults.Server { return c.members }

func (c *consulCluster) Known(i, n int) []string { return around(c.members, i, n) }

// ask asks one server after the other until one answers.
func (c *consulCluster) ask(ctx context.Context, do func(*api.Client, *api.QueryOptions) error) error {
	const patience = 500 * time.Millisecond
	var errs []error
	for _, client := range c.clients {
		attempt, cancel := context.WithTimeout(ctx, patience)
		err := do(client, (&api.QueryOptions{RequireConsistent: true}).WithContext(attempt))
		cancel()
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Records lists the leader, if there is one, and all other sessions: who waits has nothing else in the store.
func (c *consulCluster) Records(ctx context.Context, key string) ([]Record, error) {
	var records []Record
	err := c.ask(ctx, func(client *api.Client, q *api.QueryOptions) error {
		// One after the other: a session that is not listed as the leader's may be that by now.
		sessions, _, err := client.Session().List(q)
		if err != nil {
			return err
		}
		entries, _, err := client.KV().List(key, q)
		if err != nil {
			return err
		}
		records = nil
		holder := ""
		for _, e := range entries {
			if e.Key == key && e.Session != "" {
				holder = e.Session
			}
		}
		for _, e := range entries {
			if e.Key != key && e.Session == holder && holder != "" { // the sibling, whose index is the token
				records = append(records, Record{Path: key, Token: e.ModifyIndex, Session: holder})
			}
		}
		for _, s := range sessions {
			if s.ID != holder {
				records = append(records, Record{Session: s.ID})
			}
		}
		return nil
	})
	return records, err
}

// Delete deletes the key, but not its sibling. Who waits has nothing to be deleted but its session.
func (c *consulCluster) Delete(ctx context.Context, r Record) error {
	if r.Path == "" {
		return c.Revoke(ctx, r)
	}
	return c.ask(ctx, func(client *api.Client, q *api.QueryOptions) error {
		ok, resp, _, err := client.Txn().Txn(api.TxnOps{
			{KV: &api.KVTxnOp{Verb: api.KVCheckSession, Key: r.Path, Session: r.Session}},
			{KV: &api.KVTxnOp{Verb: api.KVDelete, Key: r.Path}},
		}, q)
		if err == nil && !ok {
			err = fmt.Errorf("consul: %v", resp.Errors)
		}
		return err
	})
}

func (c *consulCluster) Revoke(ctx context.Context, r Record) error {
	return c.ask(ctx, func(client *api.Client, q *api.QueryOptions) error {
		_, err := client.Session().Destroy(r.Session, (&api.WriteOptions{}).WithContext(q.Context()))
		return err
	})
}

func (c *consulCluster) MoveLeader(ctx context.Context) error {
	return c.ask(ctx, func(client *api.Client, q *api.QueryOptions) error {
		_, err := client.Operator().RaftLeaderTransfer("", q)
		return err
	})
}

func (c *consulCluster) Traces(ctx context.Context) ([]string, error) {
	var traces []string
	err := c.ask(ctx, func(client *api.Client, q *api.QueryOptions) error {
		keys, _, err := client.KV().Keys("", "", q)
		if err != nil {
			return err
		}
		sessions, _, err := client.Session().List(q)
		if err != nil {
			return err
		}
		traces = nil
		for _, key := range keys {
			traces = append(traces, "entry "+key)
		}
		for _, s := range sessions {
			traces = append(traces, "session "+s.ID)
		}
		slices.Sort(traces)
		return nil
	})
	return traces, err
}
