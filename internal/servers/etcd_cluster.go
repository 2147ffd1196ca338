//go:build unix

package servers

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// EtcdCluster is a number of etcd members that replicate one store.
type EtcdCluster struct {
	t       testing.TB
	members []*Etcd
	user    string // name:password for etcdctl, once auth is enabled
}

// StartEtcdCluster starts a cluster of n members, and waits until all serve.
func StartEtcdCluster(t testing.TB, n int, opts ...EtcdOption) *EtcdCluster {
	t.Helper()
	bin, err := Build(t.Context(), "etcd")
	if err != nil {
		t.Fatal(err)
	}
	var config etcdConfig
	for _, opt := range opts {
		opt(&config)
	}
	c := &EtcdCluster{t: t}
	var peers []string
	for i := range n {
		e := &Etcd{
			name:    fmt.Sprintf("etcd%d", i),
			ctl:     filepath.Join(bin, "etcdctl"),
			client:  reservePort(t),
			peer:    reservePort(t),
			cluster: c,
		}
		c.members = append(c.members, e)
		peers = append(peers, e.name+"="+loopbackURL(e.peer))
	}
	for _, e := range c.members {
		e.Process = newProcess(t, spec{
			name: e.name,
			path: filepath.Join(bin, "server"),
			args: append([]string{
				"--name=" + e.name,
				"--data-dir=" + filepath.Join(t.TempDir(), e.name),
				"--listen-client-urls=" + e.URL(),
				"--advertise-client-urls=" + e.URL(),
				"--listen-peer-urls=" + loopbackURL(e.peer),
				"--initial-advertise-peer-urls=" + loopbackURL(e.peer),
				"--initial-cluster=" + strings.Join(peers, ","),
				"--initial-cluster-token=" + peers[0],
				"--unsafe-no-fsync",
			}, config.args...),
			ready: e.ready,
		})
	}
	c.WaitReady()
	return c
}

// Member returns the member with index i, from 0.
func (c *EtcdCluster) Member(i int) *Etcd { return c.members[i] }

// Endpoints returns the addresses of all members for clients.
func (c *EtcdCluster) Endpoints() []string {
	var endpoints []string
	for _, e := range c.members {
		endpoints = append(endpoints, e.Endpoint())
	}
	return endpoints
}

// WaitReady waits until all members serve.
func (c *EtcdCluster) WaitReady() {
	c.t.Helper()
	for _, e := range c.members {
		e.WaitReady()
	}
}

// Leader waits until a majority of the members follows one leader that answers,
// and returns it. It asks the members that run, and does not wait for the others.
func (c *EtcdCluster) Leader() *Etcd {
	c.t.Helper()
	var leader *Etcd
	Await(c.t, "the members to agree on a leader", func(ctx context.Context) (err error) {
		leader, err = c.leader(ctx)
		return err
	})
	return leader
}

func (c *EtcdCluster) leader(ctx context.Context) (*Etcd, error) {
	type view struct{ leader, term uint64 }
	votes := make(map[view]int)
	byID := make(map[uint64]*Etcd)
	statuses, err := c.statuses(ctx)
	for e, s := range statuses {
		votes[view{s.Leader, s.Header.RaftTerm}]++
		byID[s.Header.MemberID] = e
	}
	for v, n := range votes {
		if leader := byID[v.leader]; leader != nil && n > len(c.members)/2 {
			return leader, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("members by leader and term: %v", votes), err)
}

// statuses asks all members at once, because a paused one answers nobody. The
// error tells of those that did not answer.
func (c *EtcdCluster) statuses(ctx context.Context) (map[*Etcd]etcdStatus, error) {
	type answer struct {
		from   *Etcd
		status etcdStatus
		err    error
	}
	answers := make(chan answer)
	for _, e := range c.members {
		go func() {
			s, err := e.status(ctx)
			answers <- answer{e, s, err}
		}()
	}
	statuses := make(map[*Etcd]etcdStatus)
	var errs []error
	for range c.members {
		a := <-answers
		if a.err != nil {
			errs = append(errs, a.err)
			continue
		}
		statuses[a.from] = a.status
	}
	return statuses, errors.Join(errs...)
}

// MoveLeader has the leader hand its office over to member to, and waits until
// the members agree on it.
func (c *EtcdCluster) MoveLeader(to *Etcd) {
	c.t.Helper()
	var id uint64
	Await(c.t, to.name+" to tell its id", func(ctx context.Context) error {
		s, err := to.status(ctx)
		id = s.Header.MemberID
		return err
	})
	Await(c.t, to.name+" to lead", func(ctx context.Context) error {
		leader, err := c.leader(ctx)
		if err != nil || leader == to {
			return err
		}
		// Another one may lead by now, and there may be no time to catch up: so it is asked for again.
		_, err = leader.tryCtl("move-leader", fmt.Sprintf("%x", id))
		return errors.Join(fmt.Errorf("%s leads", leader.name), err)
	})
}
