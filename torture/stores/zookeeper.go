//go:build unix

package stores

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/zookeeper"
	"github.com/hustings-go/hustings/internal/faults"
	"github.com/hustings-go/hustings/internal/servers"
)

func zookeeperStore() Store {
	const ttl = 3 * time.Second
	return Store{
		Name:    "zookeeper",
		TTL:     ttl,
		Expiry:  ttl + 2*servers.ZooKeeperTick, // rounded up to a tick, and found at the next
		Members: 3,
		// Java starts, and the members elect a leader; sessions start over then, which Expiry has already.
		Recovery: 10 * time.Second,
		WentBack: tookBack,
		Standing: func(n int) int { return 2 * n }, // a node and a session each
		Open:     openZookeeper,
		Start:    startZookeeper,
	}
}

func openZookeeper(_ context.Context, ways []Way, ttl time.Duration) (backend.Backend, func(), error) {
	b, err := zookeeper.New(addrs(ways), zookeeper.WithTTL(ttl), zookeeper.WithTick(servers.ZooKeeperTick))
	return b, func() {}, err
}

// zookeeperEnsemble is an ensemble. Its operator has a client for each visit, because a client that cannot connect
// holds its calls for as long as that lasts.
type zookeeperEnsemble struct {
	nodes   []*servers.ZooKeeper
	members []faults.Server

	mu  sync.Mutex
	own map[int64]bool // the operator's sessions
}

func startZookeeper(t testing.TB, members int) Cluster {
	t.Helper()
	// A member that hangs is to be found within TTLs, not tens of seconds.
	config := servers.ZooKeeperConfig("syncLimit=10")
	e := &zookeeperEnsemble{own: map[int64]bool{}}
	if members == 1 {
		e.nodes = []*servers.ZooKeeper{servers.StartZooKeeper(t, config)}
	} else {
		cluster := servers.StartZooKeeperCluster(t, members, config)
		for i := range members {
			e.nodes = append(e.nodes, cluster.Member(i))
		}
	}
	for _, node := range e.nodes {
		e.members = append(e.members, node)
	}
	return e
}

func (e *zookeeperEnsemble) Members() []faults.Server { return e.members }

func (e *zookeeperEnsemble) Known(i, n int) []string { return around(e.members, i, n) }

type noise struct{}

func (noise) Printf(string, ...any) {}

// visit asks one member after the other until one answers.
func (e *zookeeperEnsemble) visit(ctx context.Context, do func(context.Context, *servers.ZooKeeper, *zk.Conn) error) error {
	const patience = time.Second
	var errs []error
	for _, node := range e.nodes {
		err := func() error {
			attempt, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			conn, events, err := zk.Connect([]string{node.Endpoint()}, 4*time.Second, zk.WithLogger(noise{}), zk.WithLogInfo(false))
			if err != nil {
				return err
			}
			defer func() {
				conn.Close()
				for range events {
				}
			}()
			defer context.AfterFunc(attempt, conn.Close)()
			_, err = conn.Sync("/") // the first call waits for the session
			e.mu.Lock()
			e.own[conn.SessionID()] = true
			e.mu.Unlock()
			if err != nil {
				return err
			}
			return do(attempt, node, conn)
		}()
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (e *zookeeperEnsemble) Records(ctx context.Context, key string) ([]Record, error) {
	var records []Record
	err := e.visit(ctx, func(_ context.Context, _ *servers.ZooKeeper, conn *zk.Conn) error {
		records = nil
		parent := zookeeper.DefaultRoot + "/" + key
		names, _, err := conn.Children(parent)
		if errors.Is(err, zk.ErrNoNode) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			path := parent + "/" + name
			exists, stat, err := conn.Exists(path)
			if err != nil {
				return err
			}
			if exists && stat.EphemeralOwner != 0 {
				records = append(records, Record{Path: path, Token: uint64(stat.Czxid), Session: fmt.Sprint(stat.EphemeralOwner)})
			}
		}
		slices.SortFunc(records, func(a, b Record) int { return strings.Compare(number(a), number(b)) })
		return nil
	})
	return records, err
}

// number is a candidate's place in the queue, the last ten digits of its name.
func number(r Record) string { return r.Path[len(r.Path)-10:] }

func (e *zookeeperEnsemble) Delete(ctx context.Context, r Record) error {
	return e.visit(ctx, func(_ context.Context, _ *servers.ZooKeeper, conn *zk.Conn) error { return conn.Delete(r.Path, -1) })
}

func (e *zookeeperEnsemble) Revoke(ctx context.Context, r Record) error {
	return e.visit(ctx, func(ctx context.Context, node *servers.ZooKeeper, conn *zk.Conn) error {
		for {
			exists, stat, err := conn.Exists(r.Path)
			if err != nil || !exists {
				return err
			}
			if err := node.CloseSession(ctx, stat.EphemeralOwner); err != nil {
				return err
			}
		}
	})
}

// MoveLeader restarts the member that leads, and waits until another one does, because ZooKeeper has no order
// for that.
func (e *zookeeperEnsemble) MoveLeader(ctx context.Context) error {
	old, err := e.find(ctx, "leader")
	if err != nil {
		return err
	}
	old.Kill()
	old.Start()
	for ctx.Err() == nil {
		if _, err := e.find(ctx, "leader"); err == nil {
			return nil
		}
	}
	return nil // it was moved, and the next takes its time
}

// find returns a member whose role it is.
func (e *zookeeperEnsemble) find(ctx context.Context, role string) (*servers.ZooKeeper, error) {
	var errs []error
	for _, node := range e.nodes {
		attempt, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		answer, err := node.Ask(attempt, "srvr")
		cancel()
		if err == nil && strings.Contains(answer, "Mode: "+role) {
			return node, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(append(errs, fmt.Errorf("zookeeper: no member is %s", role))...)
}

// Traces lists candidates, and sessions that are not the operator's, as a follower knows them: the leader does
// not list all.
func (e *zookeeperEnsemble) Traces(ctx context.Context) ([]string, error) {
	follower, err := e.find(ctx, "follower")
	if err != nil {
		return nil, err
	}
	dump, err := follower.Ask(ctx, "dump")
	if err != nil {
		return nil, err
	}
	sessions, rest, found := strings.Cut(dump, "ephemeral nodes dump:")
	if !found {
		return nil, fmt.Errorf("zookeeper: it does not list its sessions: %q", dump)
	}
	nodes, _, _ := strings.Cut(rest, "Connections dump:")
	var traces []string
	e.mu.Lock()
	defer e.mu.Unlock()
	for line := range strings.Lines(sessions) {
		var id int64
		if _, err := fmt.Sscanf(line, "0x%x", &id); err == nil && !e.own[id] {
			traces = append(traces, fmt.Sprintf("session %x", id))
		}
	}
	for line := range strings.Lines(nodes) {
		if path, ok := strings.CutPrefix(line, "\t/"); ok {
			traces = append(traces, "node /"+strings.TrimSpace(path))
		}
	}
	return traces, nil
}
