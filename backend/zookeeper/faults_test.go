package zookeeper_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/zookeeper"
	"github.com/hustings-go/hustings/internal/faults"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// openProcess opens the one session of a candidate's process.
func openProcess(_ context.Context, addr string, ttl time.Duration) (backend.Backend, func(), error) {
	b, err := zookeeper.New([]string{addr}, zookeeper.WithTTL(ttl), zookeeper.WithTick(servers.ZooKeeperTick))
	return b, func() {}, err
}

// TestFaults plays every failure with candidates in processes of their own.
func TestFaults(t *testing.T) {
	const ttl = 3 * time.Second
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
			if err := asOperator(s, func(conn *zk.Conn) error { return revoke(t.Context(), s.Endpoint(), conn, record) }); err != nil {
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
func revoke(ctx context.Context, endpoint string, conn *zk.Conn, record string) error {
	for {
		exists, stat, err := conn.Exists(record)
		if err != nil || !exists {
			return err
		}
		if err := closeSession(ctx, endpoint, stat.EphemeralOwner); err != nil {
			return err
		}
	}
}

// closeSession ends a session of somebody else's: no tool of ZooKeeper's does that, but whoever knows its
// password may take it over. The server makes the password of the session's id, by Java's random numbers.
func closeSession(ctx context.Context, endpoint string, id int64) error {
	const superSecret = 0xB3415C00
	seed := (uint64(id^superSecret) ^ 0x5DEECE66D) & (1<<48 - 1)
	next := func() uint32 {
		seed = (seed*0x5DEECE66D + 0xB) & (1<<48 - 1)
		return uint32(seed >> 16)
	}
	var password [16]byte
	for i := 0; i < len(password); i += 4 {
		binary.LittleEndian.PutUint32(password[i:], next())
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", endpoint)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(trial.Patience))
	hello := binary.BigEndian.AppendUint32(nil, 44)     // length
	hello = binary.BigEndian.AppendUint32(hello, 0)     // protocol
	hello = binary.BigEndian.AppendUint64(hello, 0)     // the last transaction seen
	hello = binary.BigEndian.AppendUint32(hello, 10000) // timeout
	hello = binary.BigEndian.AppendUint64(hello, uint64(id))
	hello = binary.BigEndian.AppendUint32(hello, uint32(len(password)))
	hello = append(hello, password[:]...)
	const closeOp = -11
	op := int32(closeOp)
	bye := binary.BigEndian.AppendUint32(nil, 8)
	bye = binary.BigEndian.AppendUint32(bye, 1)
	bye = binary.BigEndian.AppendUint32(bye, uint32(op))
	if _, err := conn.Write(append(hello, bye...)); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, conn) // the answers, and the end
	if _, reset := errors.AsType[syscall.Errno](err); reset {
		return nil // the client was faster
	}
	return err
}
