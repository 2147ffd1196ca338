//go:build unix

package servers

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	redisServer = "/usr/bin/redis-server"
	redisCli    = "/usr/bin/redis-cli"
)

// Redis is a Redis server.
type Redis struct {
	*Process

	t    testing.TB
	cli  string // path of redis-cli
	port int
	args []string // for redis-cli
}

// RedisOption changes how Redis is started.
type RedisOption func(*redisConfig)

type redisConfig struct {
	args, cli []string
	lines     []string // of a configuration file
	memory    bool
}

// RedisArgs adds arguments to the server's command line, where they override ours:
// RedisArgs("--maxmemory", "2mb").
func RedisArgs(args ...string) RedisOption {
	return func(c *redisConfig) { c.args = append(c.args, args...) }
}

// RedisPassword has the server refuse all who do not know the password.
func RedisPassword(password string) RedisOption {
	return func(c *redisConfig) {
		c.args = append(c.args, "--requirepass", password)
		c.cli = append(c.cli, "--no-auth-warning", "-a", password)
	}
}

// RedisConfig adds lines to a configuration file, into which the server writes what others have it change:
// RedisConfig("replicaof 127.0.0.1 6379").
func RedisConfig(lines ...string) RedisOption {
	return func(c *redisConfig) { c.lines = append(c.lines, lines...) }
}

// RedisInMemory has the server write nothing to disk, so that all is lost when it restarts.
func RedisInMemory() RedisOption {
	return func(c *redisConfig) { c.memory = true }
}

// StartRedis starts one Redis server, and waits until it serves. It writes to
// its append-only file before it answers, so that Kill loses nothing that was
// acknowledged.
func StartRedis(t testing.TB, opts ...RedisOption) *Redis {
	t.Helper()
	var config redisConfig
	for _, opt := range opts {
		opt(&config)
	}
	path := debianFile(t, redisServer)
	r := &Redis{t: t, cli: debianFile(t, redisCli), port: reservePort(t)}
	r.args = append([]string{"-h", "127.0.0.1", "-p", strconv.Itoa(r.port)}, config.cli...)
	args := []string{"--bind", "127.0.0.1", "--port", strconv.Itoa(r.port), "--dir", t.TempDir(), "--save", ""}
	if config.lines != nil {
		file := filepath.Join(t.TempDir(), "redis.conf")
		if err := os.WriteFile(file, []byte(strings.Join(config.lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{file}, args...) // which must come first
	}
	if config.memory {
		args = append(args, "--appendonly", "no")
	} else {
		args = append(args, "--appendonly", "yes", "--appendfsync", "always")
	}
	r.Process = newProcess(t, spec{name: "redis", path: path, args: append(args, config.args...), ready: r.ready})
	r.WaitReady()
	return r
}

// StartRedisCluster starts one Redis server in cluster mode, which serves all slots.
func StartRedisCluster(t testing.TB, opts ...RedisOption) *Redis {
	t.Helper()
	cluster := RedisArgs("--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(reservePort(t)))
	r := StartRedis(t, append([]RedisOption{cluster}, opts...)...)
	r.Cli("cluster", "addslotsrange", "0", "16383")
	Await(t, "the cluster to serve", func(context.Context) error {
		if info := r.Cli("cluster", "info"); !strings.Contains(info, "cluster_state:ok") {
			return fmt.Errorf("cluster info: %s", info)
		}
		return nil
	})
	return r
}

// Endpoint returns the address for clients, as host and port.
func (r *Redis) Endpoint() string { return loopback(r.port) }

// Cli runs redis-cli against the server, and returns what it printed, without
// the end of the line. A command that the server refuses fails the test.
func (r *Redis) Cli(args ...string) string {
	r.t.Helper()
	out, err := r.TryCli(args...)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// TryCli is Cli for when the server may break off: a primary drops its clients when sentinels make it a replica.
func (r *Redis) TryCli(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.t.Context()), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, r.cli, append(append([]string{"-e"}, r.args...), args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("redis-cli %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// ready asks for a sign of life. A server that wants a password is alive.
func (r *Redis) ready(ctx context.Context) error {
	answer, err := redisPing(ctx, r.Endpoint())
	if err == nil && answer != "+PONG" && !strings.HasPrefix(answer, "-NOAUTH") {
		err = fmt.Errorf("it answers %q", answer)
	}
	return err
}

func redisPing(ctx context.Context, addr string) (string, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	if _, err := fmt.Fprint(conn, "PING\r\n"); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}
