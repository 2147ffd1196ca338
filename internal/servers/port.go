//go:build unix

package servers

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Servers get even ports below those that the kernel hands out by itself, which
// on Linux begin at 32768: there no client's connection can take the port of a
// server that is down for a moment.
const (
	firstPort = 20000
	lastPort  = 31998
)

// reservePort returns a loopback port that nobody uses, and keeps other tests,
// also those of other processes, from getting it until the test ends. The mark
// of a reservation is a listener on the odd port after it: it is gone when its
// process is, and it leaves the port itself free for the server.
func reservePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := firstPort + 2*rand.IntN((lastPort-firstPort)/2+1)
		guard, err := net.Listen("tcp", loopback(port+1))
		if err != nil {
			continue
		}
		probe, err := net.Listen("tcp", loopback(port))
		if err != nil {
			guard.Close()
			continue
		}
		probe.Close()
		t.Cleanup(func() { guard.Close() })
		return port
	}
	t.Fatalf("no free port between %d and %d", firstPort, lastPort)
	return 0
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func loopbackURL(port int) string { return fmt.Sprintf("http://%s", loopback(port)) }
