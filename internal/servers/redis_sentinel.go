//go:build unix

package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// RedisMaster is the name under which Sentinel knows the primary.
const RedisMaster = "primary"

// RedisReplicator is the user that a replica logs in as, so that it alone can be shut out; its password is the same.
const RedisReplicator = "replicator"

// RedisSentinel is two Redis servers, one of which replicates the other, and
// three sentinels, which make the replica the primary when two of them find that
// the primary is down.
type RedisSentinel struct {
	t         testing.TB
	nodes     [2]*Redis
	sentinels []string // addresses
}

// StartRedisSentinel starts the servers and waits until all know each other.
func StartRedisSentinel(t testing.TB) *RedisSentinel {
	t.Helper()
	// In a file, so that a server that is killed and restarted is again what the sentinels had made it.
	common := RedisConfig(
		fmt.Sprintf("user %s on >%[1]s +psync +replconf +ping", RedisReplicator),
		"masteruser "+RedisReplicator, "masterauth "+RedisReplicator, "repl-diskless-sync-delay 0")
	s := &RedisSentinel{t: t}
	s.nodes[0] = StartRedis(t, common)
	s.nodes[1] = StartRedis(t, common, RedisConfig(fmt.Sprintf("replicaof 127.0.0.1 %d", s.nodes[0].port)))
	s.awaitReplica()
	var all []*Process
	for i := range 3 {
		all = append(all, s.startSentinel(i))
	}
	for _, p := range all {
		p.WaitReady()
	}
	for _, addr := range s.sentinels {
		Await(t, "the sentinels to know each other and the replica", func(ctx context.Context) error {
			return s.complete(ctx, addr)
		})
	}
	return s
}

func (s *RedisSentinel) startSentinel(i int) *Process {
	port := reservePort(s.t)
	addr := loopback(port)
	s.sentinels = append(s.sentinels, addr)
	config := filepath.Join(s.t.TempDir(), fmt.Sprintf("sentinel%d.conf", i))
	text := fmt.Sprintf(`bind 127.0.0.1
port %d
dir %s
sentinel monitor %s 127.0.0.1 %d 2
sentinel down-after-milliseconds %s 1000
sentinel failover-timeout %s 5000
`, port, filepath.Dir(config), RedisMaster, s.nodes[0].port, RedisMaster, RedisMaster)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return newProcess(s.t, spec{
		name: "sentinel" + strconv.Itoa(i),
		path: debianFile(s.t, redisServer),
		args: []string{config, "--sentinel"},
		ready: func(ctx context.Context) error {
			_, err := redisPing(ctx, addr)
			return err
		},
	})
}

// complete reports whether the sentinel at addr knows all others.
func (s *RedisSentinel) complete(_ context.Context, addr string) error {
	state := s.ask(addr, "sentinel", "master", RedisMaster)
	fields := strings.Split(state, "\n")
	for _, want := range [][2]string{{"num-slaves", "1"}, {"num-other-sentinels", "2"}, {"flags", "master"}} {
		found := false
		for i := 0; i+1 < len(fields); i += 2 {
			found = found || fields[i] == want[0] && fields[i+1] == want[1]
		}
		if !found {
			return fmt.Errorf("want %s %s in:\n%s", want[0], want[1], state)
		}
	}
	return nil
}

func (s *RedisSentinel) ask(addr string, args ...string) string {
	_, port, _ := strings.Cut(addr, ":")
	r := &Redis{t: s.t, cli: s.nodes[0].cli, args: []string{"-h", "127.0.0.1", "-p", port}}
	return r.Cli(args...)
}

// Sentinels returns the addresses of the sentinels.
func (s *RedisSentinel) Sentinels() []string { return s.sentinels }

// Nodes returns both servers, the first primary first.
func (s *RedisSentinel) Nodes() []*Redis { return s.nodes[:] }

// Primary returns the server that the sentinels send clients to.
func (s *RedisSentinel) Primary() *Redis {
	s.t.Helper()
	addr := strings.ReplaceAll(s.ask(s.sentinels[0], "sentinel", "get-master-addr-by-name", RedisMaster), "\n", ":")
	for _, node := range s.nodes {
		if node.Endpoint() == addr {
			return node
		}
	}
	s.t.Fatalf("the sentinels send clients to %q", addr)
	return nil
}

// Other returns the server that node is not.
func (s *RedisSentinel) Other(node *Redis) *Redis {
	if node == s.nodes[0] {
		return s.nodes[1]
	}
	return s.nodes[0]
}

// CutReplication shuts the replica out of the primary, whose writes from now on it does not get.
func (s *RedisSentinel) CutReplication() {
	s.t.Helper()
	primary := s.Primary()
	primary.Cli("acl", "setuser", RedisReplicator, "off")
	primary.Cli("client", "kill", "type", "replica")
}

// AwaitReplicated waits until the replica has all that was written to the primary so far.
func (s *RedisSentinel) AwaitReplicated() {
	s.t.Helper()
	s.Primary().Cli("wait", "1", "10000")
}

// AwaitFailover waits until another server than before is the primary, and takes writes.
func (s *RedisSentinel) AwaitFailover(before *Redis) {
	s.t.Helper()
	after := s.Other(before)
	// Sentinels that did not run for two seconds do nothing for thirty, and after a vote that failed for ten (TILT, failover-timeout).
	awaitFor(s.t, 3*patience, "the sentinels to make the replica the primary", func(context.Context) error {
		if s.Primary() != after {
			return errors.New("not yet")
		}
		role, err := after.TryCli("role")
		if err == nil && !strings.HasPrefix(role, "master") {
			err = errors.New("not yet")
		}
		return err
	})
}

func (s *RedisSentinel) awaitReplica() {
	s.t.Helper()
	Await(s.t, "the replica to be in touch", func(context.Context) error {
		info, err := s.nodes[1].TryCli("info", "replication")
		if err == nil && !strings.Contains(info, "master_link_status:up") {
			err = errors.New(info)
		}
		return err
	})
}
