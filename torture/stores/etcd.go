//go:build unix

package stores

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/internal/faults"
	"github.com/hustings-go/hustings/internal/servers"
)

func etcdStore() Store {
	const ttl = 2 * time.Second // the least that etcd grants
	return Store{
		Name:    "etcd",
		TTL:     ttl,
		Expiry:  ttl + time.Second, // the lessor looks every 500 ms
		Members: 3,
		// An election of the cluster's leader, two if votes split; then leases start over, with an election
		// timeout (1 s) on top.
		Recovery: 2*2*time.Second + ttl + 2*time.Second,
		WentBack: tookBack,
		Standing: func(n int) int { return 2 * n }, // a record and a lease each
		Open:     openEtcd,
		Start:    startEtcd,
	}
}

func openEtcd(ctx context.Context, ways []Way, ttl time.Duration) (backend.Backend, func(), error) {
	client, err := etcdClient(ctx, addrs(ways))
	if err != nil {
		return nil, nil, err
	}
	done := func() { _ = client.Close() }
	b, err := etcd.New(client, etcd.WithTTL(ttl))
	if err != nil {
		done()
		return nil, nil, err
	}
	return b, done, nil
}

func etcdClient(ctx context.Context, addrs []string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Context: ctx, Endpoints: addrs, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
}

// etcdCluster is a cluster with an operator's client for each member, because the operator wants an answer
// from whoever can give one.
type etcdCluster struct {
	members []faults.Server
	clients []*clientv3.Client
}

func startEtcd(t testing.TB, members int) Cluster {
	t.Helper()
	cluster := servers.StartEtcdCluster(t, members)
	c := &etcdCluster{}
	for i := range members {
		member := cluster.Member(i)
		client, err := etcdClient(context.WithoutCancel(t.Context()), []string{member.Endpoint()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		c.members = append(c.members, member)
		c.clients = append(c.clients, client)
	}
	return c
}

func (c *etcdCluster) Members() []faults.Server { return c.members }

func (c *etcdCluster) Known(i, n int) []string { return around(c.members, i, n) }

// ask asks one member after the other until one answers.
func (c *etcdCluster) ask(ctx context.Context, do func(context.Context, *clientv3.Client) error) error {
	const patience = 500 * time.Millisecond
	var errs []error
	for _, client := range c.clients {
		attempt, cancel := context.WithTimeout(ctx, patience)
		err := do(attempt, client)
		cancel()
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *etcdCluster) Records(ctx context.Context, key string) ([]Record, error) {
	var records []Record
	err := c.ask(ctx, func(ctx context.Context, client *clientv3.Client) error {
		resp, err := client.Get(ctx, key+"/", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
		if err != nil {
			return err
		}
		records = nil
		for _, kv := range resp.Kvs {
			records = append(records, Record{Path: string(kv.Key), Token: uint64(kv.CreateRevision), Session: strconv.FormatInt(kv.Lease, 10)})
		}
		return nil
	})
	return records, err
}

func (c *etcdCluster) Delete(ctx context.Context, r Record) error {
	return c.ask(ctx, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Delete(ctx, r.Path)
		return err
	})
}

func (c *etcdCluster) Revoke(ctx context.Context, r Record) error {
	id, err := strconv.ParseInt(r.Session, 10, 64)
	if err != nil {
		return err
	}
	return c.ask(ctx, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Revoke(ctx, clientv3.LeaseID(id))
		return err
	})
}

func (c *etcdCluster) MoveLeader(ctx context.Context) error {
	ids := make([]uint64, len(c.clients))
	var leader uint64
	for i, client := range c.clients {
		status, err := client.Status(ctx, c.members[i].Endpoint())
		if err != nil {
			return err
		}
		ids[i], leader = status.Header.MemberId, status.Leader
	}
	for i, id := range ids {
		if id == leader {
			_, err := c.clients[i].MoveLeader(ctx, ids[(i+1)%len(ids)])
			return err
		}
	}
	return errors.New("etcd: the cluster has no leader")
}

func (c *etcdCluster) Traces(ctx context.Context) ([]string, error) {
	var traces []string
	err := c.ask(ctx, func(ctx context.Context, client *clientv3.Client) error {
		keys, err := client.Get(ctx, "", clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			return err
		}
		leases, err := client.Leases(ctx)
		if err != nil {
			return err
		}
		traces = nil
		for _, kv := range keys.Kvs {
			traces = append(traces, "record "+string(kv.Key))
		}
		for _, l := range leases.Leases {
			traces = append(traces, fmt.Sprintf("lease %x", int64(l.ID)))
		}
		return nil
	})
	return traces, err
}
