//go:build unix

package servers

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ZooKeeperTick is the tickTime of the servers that tests start: short, so that sessions may be short too
// and expire soon. ZooKeeper's own default is 2 s.
const ZooKeeperTick = 200 * time.Millisecond

// ZooKeeper is a member of a ZooKeeper ensemble, often its only one.
type ZooKeeper struct {
	*Process

	client, quorum, election int // its ports
	dir                      string
}

// ZooKeeperOption changes how ZooKeeper is started.
type ZooKeeperOption func(*zooKeeperConfig)

type zooKeeperConfig struct {
	lines []string
	cut   bool
}

// ZooKeeperConfig adds lines to the configuration file, where they override ours:
// ZooKeeperConfig("tickTime=500", "maxSessionTimeout=5000").
func ZooKeeperConfig(lines ...string) ZooKeeperOption {
	return func(c *zooKeeperConfig) { c.lines = append(c.lines, lines...) }
}

// StartZooKeeper starts ZooKeeper with one member, which is no ensemble, and waits until it serves.
func StartZooKeeper(t testing.TB, opts ...ZooKeeperOption) *ZooKeeper {
	t.Helper()
	z := newZooKeeper(t)
	z.start(t, "zookeeper", nil, opts)
	z.WaitReady()
	return z
}

func newZooKeeper(t testing.TB) *ZooKeeper {
	t.Helper()
	return &ZooKeeper{client: reservePort(t), quorum: reservePort(t), election: reservePort(t), dir: t.TempDir()}
}

// start starts the server, with peers added to its configuration.
func (z *ZooKeeper) start(t testing.TB, name string, peers []string, opts []ZooKeeperOption) {
	t.Helper()
	java, class, err := zooKeeperProgram()
	if err != nil {
		t.Fatal(err)
	}
	var config zooKeeperConfig
	for _, opt := range opts {
		opt(&config)
	}
	lines := append([]string{
		fmt.Sprintf("tickTime=%d", ZooKeeperTick.Milliseconds()),
		"initLimit=50", "syncLimit=50",
		"maxSessionTimeout=60000",
		"maxClientCnxns=0",
		"admin.enableServer=false",
		"4lw.commands.whitelist=*",
		"dataDir=" + filepath.Join(z.dir, "data"),
	}, peers...)
	if peers == nil {
		lines = append(lines, fmt.Sprintf("clientPort=%d", z.client), "clientPortAddress=127.0.0.1")
	}
	file := filepath.Join(z.dir, "zoo.cfg")
	if err := os.WriteFile(file, []byte(strings.Join(append(lines, config.lines...), "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	z.Process = newProcess(t, spec{
		name: name,
		path: java,
		args: []string{
			"-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", // many small servers on one machine
			"-XX:-UsePerfData",             // which would leave files behind when it is killed
			"-Dzookeeper.forceSync=no",     // survives Kill all the same
			"-Dzookeeper.preAllocSize=256", // kB of log at a time
			"-Dznode.container.checkIntervalMs=1000",
			"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
			"-Dorg.slf4j.simpleLogger.showDateTime=true",
			"-cp", class, "org.apache.zookeeper.server.quorum.QuorumPeerMain", file,
		},
		ready: z.ready,
	})
}

// What Debian's package zookeeper installs, and what that needs to say something.
const (
	zooKeeperJar = "/usr/share/java/zookeeper.jar"
	loggerJar    = "/usr/share/java/slf4j-simple.jar"
)

// zooKeeperProgram returns the path of java, and the class path of Debian's ZooKeeper.
func zooKeeperProgram() (java, class string, err error) {
	java, err = exec.LookPath("java")
	if err != nil {
		return "", "", fmt.Errorf("zookeeper needs java, which is not installed: run make servers: %w", err)
	}
	for _, jar := range []string{zooKeeperJar, loggerJar} {
		if _, err := os.Stat(jar); err != nil {
			return "", "", fmt.Errorf("zookeeper is not installed: run make servers: %w", err)
		}
	}
	return java, zooKeeperJar + ":" + loggerJar, nil
}

// Endpoint returns the address for clients, as host and port.
func (z *ZooKeeper) Endpoint() string { return loopback(z.client) }

// Ask sends one of ZooKeeper's four letter words and returns the answer.
func (z *ZooKeeper) Ask(ctx context.Context, word string) (string, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", z.Endpoint())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	if _, err := io.WriteString(conn, word); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// mode is standalone, leader or follower.
func (z *ZooKeeper) mode(ctx context.Context) (string, error) {
	answer, err := z.Ask(ctx, "srvr")
	if err != nil {
		return "", err
	}
	_, rest, found := strings.Cut(answer, "Mode: ")
	if !found {
		return "", fmt.Errorf("it does not serve: %q", answer)
	}
	mode, _, _ := strings.Cut(rest, "\n")
	return mode, nil
}

func (z *ZooKeeper) ready(ctx context.Context) error {
	_, err := z.mode(ctx)
	return err
}
