//go:build unix

package servers_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hustings-go/hustings/internal/servers"
)

// A wait for what must not happen lasts this long.
const quiet = 150 * time.Millisecond

// echo is a server that answers each line with the same line, and tells what it
// heard and which connections it saw the end of.
type echo struct {
	addr  string
	heard chan string
	ended chan struct{}
}

func startEcho(t *testing.T) *echo {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{addr: listener.Addr().String(), heard: make(chan string, 10000), ended: make(chan struct{}, 100)}
	var serving sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			serving.Go(func() { e.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for _, conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return e
}

func (e *echo) serve(conn net.Conn) {
	defer conn.Close()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		e.heard <- lines.Text()
		fmt.Fprintln(conn, lines.Text())
	}
	e.ended <- struct{}{}
}

// client is a connection to the echo server through the proxy.
type client struct {
	t     *testing.T
	conn  net.Conn
	lines *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t, conn, bufio.NewReader(conn)}
}

func (c *client) say(line string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.conn, line); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) hear(want string) {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if got, err := c.lines.ReadString('\n'); err != nil || got != want+"\n" {
		c.t.Fatalf("heard %q, %v; want %q", got, err, want)
	}
}

// hearNothing fails unless the connection is open and silent.
func (c *client) hearNothing() {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(quiet))
	if got, err := c.lines.ReadString('\n'); got != "" || !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("heard %q, %v; want an open connection and nothing from it", got, err)
	}
}

func (e *echo) expect(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-e.heard:
		if got != want {
			t.Fatalf("the server heard %q, want %q", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("the server did not hear %q", want)
	}
}

func (e *echo) expectNothing(t *testing.T) {
	t.Helper()
	select {
	case got := <-e.heard:
		t.Fatalf("the server heard %q", got)
	case <-e.ended:
		t.Fatal("the server saw a connection end")
	case <-time.After(quiet):
	}
}

func (e *echo) expectEnd(t *testing.T) {
	t.Helper()
	select {
	case <-e.ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the server did not see the connection end")
	}
}

func TestProxyCutHoldsBothWaysUntilHealed(t *testing.T) {
	e := startEcho(t)
	p := servers.StartProxy(t, e.addr)
	old, leaver := dial(t, p.Addr()), dial(t, p.Addr())
	old.say("one")
	old.hear("one")
	e.expect(t, "one")
	leaver.say("two")
	leaver.hear("two")
	e.expect(t, "two")

	p.Cut()
	old.say("three")
	old.say("four")
	e.expectNothing(t)
	p.Cut() // once more lets nothing slip
	young := dial(t, p.Addr())
	young.say("five")
	leaver.conn.Close()
	e.expectNothing(t)
	old.hearNothing()
	young.hearNothing()

	p.Heal()
	old.hear("three")
	old.hear("four")
	young.hear("five")
	e.expectEnd(t)
	old.say("six")
	old.hear("six")
}

func TestProxyCutsOneWay(t *testing.T) {
	e := startEcho(t)
	p := servers.StartProxy(t, e.addr)
	c := dial(t, p.Addr())

	p.CutUp()
	c.say("up")
	e.expectNothing(t)
	p.Heal()
	e.expect(t, "up")
	c.hear("up")

	p.CutDown()
	c.say("down")
	e.expect(t, "down")
	c.hearNothing()
	p.Cut() // what is held from one cut to the next stays held
	c.hearNothing()
	p.CutUp()
	c.hear("down")
	c.say("again")
	e.expectNothing(t)
}

func TestProxyHoldsMuchWithoutLosingOrder(t *testing.T) {
	e := startEcho(t)
	p := servers.StartProxy(t, e.addr)
	c := dial(t, p.Addr())
	p.Cut()
	for n := range 1000 {
		c.say(fmt.Sprint(n))
	}
	e.expectNothing(t)
	p.Heal()
	for n := range 1000 {
		c.hear(fmt.Sprint(n))
	}
}

func TestProxyDelaysEachWay(t *testing.T) {
	e := startEcho(t)
	p := servers.StartProxy(t, e.addr)
	c := dial(t, p.Addr())
	p.Delay(quiet)
	start := time.Now()
	c.say("slow")
	c.hear("slow")
	if took := time.Since(start); took < 2*quiet {
		t.Errorf("there and back took %v, want at least %v", took, 2*quiet)
	}
}

func TestProxyRefusesAndForgets(t *testing.T) {
	e := startEcho(t)
	p := servers.StartProxy(t, e.addr)
	c := dial(t, p.Addr())
	c.say("one")
	c.hear("one")
	e.expect(t, "one")

	p.Cut()
	c.say("two") // held, and then forgotten
	e.expectNothing(t)
	p.Refuse()
	e.expectEnd(t)
	c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.lines.ReadByte(); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the old connection reads %v", err)
	}
	if conn, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a new connection: %v, %v", conn, err)
	}

	p.Heal()
	c = dial(t, p.Addr())
	c.say("three")
	c.hear("three")
	e.expect(t, "three") // and not two
}

func TestProxyBeforeAPausedServerPassesItsSilenceOn(t *testing.T) {
	etcd := servers.StartEtcd(t)
	p := servers.StartProxy(t, etcd.Endpoint())
	request := "GET /version HTTP/1.1\r\nHost: etcd\r\n\r\n"
	c := dial(t, p.Addr())
	etcd.Pause()
	c.say(request[:len(request)-1])
	c.hearNothing()
	etcd.Resume()
	c.hear("HTTP/1.1 200 OK\r")
}
