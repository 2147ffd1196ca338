package zookeeper_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/zookeeper"
	"github.com/hustings-go/hustings/internal/faults"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

func TestMain(m *testing.M) {
	if servers.Role() == faults.Role {
		os.Exit(faults.Candidate(openProcess))
	}
	goleak.VerifyTestMain(m)
}

// shortTTL is for leases that shall run out, on a machine that stands still for half a second now and then: after a sixth of it
// a connection on which nothing came is given up.
const shortTTL = 4 * time.Second

// open makes a Backend on the servers, closed at the end of the test.
func open(t testing.TB, endpoints []string, opts ...zookeeper.Option) *zookeeper.Backend {
	t.Helper()
	b, err := zookeeper.New(endpoints, append([]zookeeper.Option{zookeeper.WithTick(servers.ZooKeeperTick)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

// silence is a logger for clients of the tests' own.
type silence struct{}

func (silence) Printf(string, ...any) {}

// connect makes a client as an operator has it, closed at the end of the test.
func connect(t testing.TB, endpoint string) *zk.Conn {
	t.Helper()
	conn, events, err := zk.Connect([]string{endpoint}, 10*time.Second, zk.WithLogger(silence{}), zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		for range events {
		}
	})
	return conn
}

// wiretap is a dialer that counts packets and can let a client die.
type wiretap struct {
	packets  *atomic.Int64
	watches  chan struct{}        // one element for each request that sets a watch on a node, once the client took its answer, if not nil
	sessions atomic.Int64         // how many were asked for
	before   func(op int32)       // called before a packet is sent, if not nil
	greets   func(session uint64) // called before a greeting is sent, if not nil
	sees     func(p []byte)       // given each packet before it is sent, if not nil
	after    func(op int32)       // called when it was, if not nil
	deaf     atomic.Bool          // what answers a packet that is sent is lost, and the connection with it
	mute     *atomic.Bool         // if not nil: the server's events are lost while it is true

	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

type tapped struct {
	net.Conn
	tap     *wiretap
	greeted bool
	deaf    atomic.Bool
	setting sync.Map // the ids of requests that set watches
	answers int      // packets that came
	in      []byte   // what of them was not read yet, where they are looked at
	set     bool     // the latest answers one that set a watch
}

func (c *tapped) Write(p []byte) (int, error) {
	if c.tap.packets != nil {
		c.tap.packets.Add(1)
	}
	const session = 20 // where its id is in a greeting; 0 asks for a new one
	if !c.greeted {
		id := binary.BigEndian.Uint64(p[session:])
		if id == 0 {
			c.tap.sessions.Add(1)
		}
		if c.tap.greets != nil {
			c.tap.greets(id)
		}
	}
	op := int32(0)
	if c.greeted && len(p) >= 12 {
		op = int32(binary.BigEndian.Uint32(p[8:]))
	}
	c.greeted = true
	if c.tap.sees != nil {
		c.tap.sees(p)
	}
	if c.tap.before != nil {
		c.tap.before(op)
	}
	if c.tap.deaf.Load() {
		c.deaf.Store(true)
	}
	if (op == opGetData || op == opExists) && p[len(p)-1] == 1 {
		c.setting.Store(binary.BigEndian.Uint32(p[4:]), true)
	}
	n, err := c.Conn.Write(p)
	if c.tap.after != nil {
		c.tap.after(op)
	}
	return n, err
}

func (c *tapped) Read(p []byte) (int, error) {
	read := c.Conn.Read
	if c.tap.mute != nil || c.tap.watches != nil {
		read = c.readPackets
	}
	n, err := read(p)
	if c.deaf.Load() {
		return 0, errors.New("the answer is lost")
	}
	return n, err
}

// readPackets leaves out events while they are to be, and tells of watches that were set when the client asks for what
// comes after the answer.
func (c *tapped) readPackets(p []byte) (int, error) {
	for len(c.in) == 0 {
		if c.set && c.tap.watches != nil {
			c.tap.watches <- struct{}{}
		}
		c.set = false
		var length [4]byte
		if _, err := io.ReadFull(c.Conn, length[:]); err != nil {
			return 0, err
		}
		packet := make([]byte, len(length)+int(binary.BigEndian.Uint32(length[:])))
		copy(packet, length[:])
		if _, err := io.ReadFull(c.Conn, packet[len(length):]); err != nil {
			return 0, err
		}
		c.answers++
		id, muted := binary.BigEndian.Uint32(packet[len(length):]), c.tap.mute != nil && c.tap.mute.Load()
		if event := c.answers > 1 && id == 1<<32-1; event && muted {
			continue
		}
		c.in = packet
		_, c.set = c.setting.LoadAndDelete(id)
	}
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

// Operations of the protocol.
const (
	opCreate   = 1
	opExists   = 3
	opGetData  = 4
	opChildren = 12
	opPing     = 11
	opMulti    = 14
)

func (w *wiretap) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: timeout}).DialContext(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		conn.Close()
		return nil, errors.New("this client is dead")
	}
	w.conns = append(w.conns, conn)
	return &tapped{Conn: conn, tap: w}, nil
}

// drop closes all connections.
func (w *wiretap) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range w.conns {
		conn.Close()
	}
	w.conns = nil
}

// kill closes all connections, and lets no more be made.
func (w *wiretap) kill() {
	w.mu.Lock()
	w.dead = true
	w.mu.Unlock()
	w.drop()
}

// revive lets connections be made again.
func (w *wiretap) revive() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = false
}

// candidates returns the paths of the candidates of key, first come first served.
func candidates(ctx context.Context, conn *zk.Conn, root, key string) ([]string, error) {
	parent := strings.TrimSuffix(root, "/") + "/" + key
	if _, err := conn.Sync("/"); err != nil {
		return nil, err
	}
	names, _, err := conn.Children(parent)
	if errors.Is(err, zk.ErrNoNode) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.Contains(name, "latch-") })
	slices.SortFunc(names, func(x, y string) int { return strings.Compare(x[len(x)-10:], y[len(y)-10:]) })
	for i := range names {
		names[i] = parent + "/" + names[i]
	}
	return names, ctx.Err()
}

// queued waits until n candidates stand for key, and returns their paths.
func queued(t testing.TB, conn *zk.Conn, key string, n int) []string {
	t.Helper()
	servers.Await(t, "the queue", queueOf(conn, zookeeper.DefaultRoot, key, n))
	paths, err := candidates(t.Context(), conn, zookeeper.DefaultRoot, key)
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// win campaigns for key and must get it; again where a request was not answered within the Backend's own bound, which says
// that the machine is slow.
func win(t testing.TB, b *zookeeper.Backend, key, value string) backend.Lease {
	t.Helper()
	for ctx := trial.Within(t); ; {
		l, err := b.Campaign(ctx, key, []byte(value))
		switch {
		case err == nil:
			resignLater(t, l)
			return l
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			t.Fatal(err)
		}
	}
}

// resignLater gives l up at the end of the test, if it is still held: a lease that is held keeps its client
// running, also when the Backend was closed.
func resignLater(t testing.TB, l backend.Lease) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), trial.Patience)
		defer cancel()
		_ = l.Resign(ctx)
	})
}

// outcome is what a Campaign ended with.
type outcome struct {
	lease backend.Lease
	err   error
}

// campaign stands for key beside the test, until ctx or the test ends.
func campaign(t testing.TB, ctx context.Context, b *zookeeper.Backend, key, value string) <-chan outcome {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	result := make(chan outcome, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		l, err := b.Campaign(ctx, key, []byte(value))
		if err == nil {
			resignLater(t, l)
		}
		result <- outcome{l, err}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return result
}

// queueOf is a condition for servers.Await: n candidates stand for key.
func queueOf(conn *zk.Conn, root, key string, n int) func(context.Context) error {
	return func(ctx context.Context) error {
		paths, err := candidates(ctx, conn, root, key)
		if err == nil && len(paths) != n {
			err = errors.New("not yet")
		}
		return err
	}
}

// stay makes the node at path, and those above it where they are missing, so that they stay when they are empty: those that
// a Backend makes vanish, within a second, and what is created below them in that moment fails.
func stay(t testing.TB, conn *zk.Conn, path string) {
	t.Helper()
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		if _, err := conn.Create(path[:i], nil, zk.FlagPersistent, zk.WorldACL(zk.PermAll)); err != nil && !errors.Is(err, zk.ErrNodeExists) {
			t.Fatal(err)
		}
	}
}

// gone is a condition for servers.Await: there is no node at path.
func gone(conn *zk.Conn, path string) func(context.Context) error {
	return func(context.Context) error {
		exists, _, err := conn.Exists(path)
		if err == nil && exists {
			err = errors.New("it is there")
		}
		return err
	}
}
