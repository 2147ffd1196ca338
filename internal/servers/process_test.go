//go:build unix

package servers

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"
)

// TestProcessWhosePortIsTakenIsStartedAgain has the port in use at first, as when
// somebody else got it between its reservation and the server's start.
func TestProcessWhosePortIsTakenIsStartedAgain(t *testing.T) {
	bin, err := Build(t.Context(), "toxiproxy")
	if err != nil {
		t.Fatal(err)
	}
	port := reservePort(t)
	squatter, err := net.Listen("tcp", loopback(port))
	if err != nil {
		t.Fatal(err)
	}
	defer squatter.Close()
	p := newProcess(t, spec{
		name: "server",
		path: bin + "/server",
		args: []string{"-host=127.0.0.1", "-port=" + strconv.Itoa(port)},
		ready: func(ctx context.Context) error {
			return call(ctx, "GET", loopbackURL(port)+"/version", nil, nil)
		},
	})
	select {
	case <-p.Exited():
	case <-time.After(patience):
		t.Fatal("the server does not mind that its port is taken")
	}
	squatter.Close()
	p.WaitReady()
}

func TestReservedPortsDiffer(t *testing.T) {
	seen := make(map[int]bool)
	for range 200 {
		port := reservePort(t)
		if seen[port] {
			t.Fatalf("port %d was handed out twice", port)
		}
		seen[port] = true
	}
}
