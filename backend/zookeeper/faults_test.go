package zookeeper_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/zookeeper"
	"github.com/hustings-go/hustings/internal/faults"
	"github.com/hustings-go/hustings/internal/servers"
)

// openProcess opens the one session of a candidate's process.
func openProcess(_ context.Context, addr string, ttl time.Duration) (backend.Backend, func(), error) {
	b, err := zookeeper.New([]string{addr}, zookeeper.WithTTL(ttl), zookeeper.WithTick(servers.ZooKeeperTick))
	return b, func() {}, err
}

// TestFaults plays every failure with candidates in processes of their own.
func TestFaults(t *testing.T) {
	const ttl = 4 * time.Second
	faults.Run(t, faults.Harness{
		TTL:    ttl,
		Expiry: ttl + 2*servers.ZooKeeperTick, // rounded up to a tick, and found at the next
		Start:  func(t testing.TB) faults.Server { return servers.StartZooKeeper(t) },
		Records: func(t testing.TB, s faults.Server, key string) []string {
			t.Helper()
			var paths []string
			err := asOperator(s, func(conn *zk.Conn) (err error) {
				paths, err = candidates(t.Context(), conn, zookeeper.DefaultRoot, key)
				return err
			})
			if err != nil {
				t.Logf("records: %v", err)
			}
			return paths
		},
		Delete: func(t testing.TB, s faults.Server, record string) {
			t.Helper()
			if err := asOperator(s, func(conn *zk.Conn) error { return conn.Delete(record, -1) }); err != nil {
				t.Fatal(err)
			}
		},
		Revoke: func(t testing.TB, s faults.Server, record string) {
			t.Helper()
			if err := asOperator(s, func(conn *zk.Conn) error { return revoke(t.Context(), s.(*servers.ZooKeeper), conn, record) }); err != nil {
				t.Fatal(err)
			}
		},
	})
}

// asOperator lends a client for one visit.
func asOperator(s faults.Server, visit func(*zk.Conn) error) error {
	conn, events, err := zk.Connect([]string{s.Endpoint()}, 10*time.Second, zk.WithLogger(silence{}), zk.WithLogInfo(false))
	if err != nil {
		return err
	}
	defer func() {
		conn.Close()
		for range events {
		}
	}()
	return visit(conn)
}

// revoke ends the session that the record belongs to. Its client connects again at once when it is taken over, and may be
// back before the session was closed.
func revoke(ctx context.Context, server *servers.ZooKeeper, conn *zk.Conn, record string) error {
	for {
		exists, stat, err := conn.Exists(record)
		if err != nil || !exists {
			return err
		}
		if err := server.CloseSession(ctx, stat.EphemeralOwner); err != nil {
			return err
		}
	}
}
