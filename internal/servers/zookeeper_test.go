//go:build unix

package servers_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/hustings-go/hustings/internal/servers"
)

func TestZooKeeperSurvivesAKill(t *testing.T) {
	z := servers.StartZooKeeper(t)
	z.Kill()
	z.Start()
	z.WaitReady()
	if answer, err := z.Ask(t.Context(), "ruok"); err != nil || answer != "imok" {
		t.Errorf("ruok: %q, error %v", answer, err)
	}
}

func TestZooKeeperClusterServesThroughALossOfItsLeader(t *testing.T) {
	c := servers.StartZooKeeperCluster(t, 3, servers.ZooKeeperConfig("syncLimit=5"))
	leader := c.Leader()
	leader.Kill()
	if next := c.Leader(); next == leader {
		t.Error("the member that was killed leads")
	}
	leader.Start()
	c.WaitReady()
}

func TestAMemberThatIsCutOffStopsServing(t *testing.T) {
	c := servers.StartZooKeeperCluster(t, 3, servers.ZooKeeperCuttable(), servers.ZooKeeperConfig("syncLimit=5"))
	c.CutOff()
	servers.Await(t, "the first member to stop serving", func(ctx context.Context) error {
		answer, err := c.Member(0).Ask(ctx, "srvr")
		if err == nil && !strings.Contains(answer, "not currently serving") {
			return context.DeadlineExceeded
		}
		return err
	})
	c.Rejoin()
	c.WaitReady()
}

// TestZooKeeperSessionIsClosedByHand makes its session by hand too.
func TestZooKeeperSessionIsClosedByHand(t *testing.T) {
	z := servers.StartZooKeeper(t)
	id, password := greet(t, z, 0, make([]byte, 16))
	if err := z.CloseSession(t.Context(), id+1); err != nil { // there is none
		t.Error(err)
	}
	if got, _ := greet(t, z, id, password); got != id {
		t.Errorf("the session %x was closed instead of another", id)
	}
	if err := z.CloseSession(t.Context(), id); err != nil {
		t.Error(err)
	}
	if got, _ := greet(t, z, id, password); got != 0 {
		t.Errorf("the session %x is still there", id)
	}
}

// greet takes a session up, or makes one of id 0, and returns the one it has then, 0 if it is not there any more.
func greet(t *testing.T, z *servers.ZooKeeper, id int64, password []byte) (int64, []byte) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", z.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const timeout = 60000
	hello := binary.BigEndian.AppendUint32(nil, 44) // length
	hello = append(hello, make([]byte, 12)...)      // protocol, last transaction seen
	hello = binary.BigEndian.AppendUint32(hello, timeout)
	hello = binary.BigEndian.AppendUint64(hello, uint64(id))
	hello = binary.BigEndian.AppendUint32(hello, uint32(len(password)))
	if _, err := conn.Write(append(hello, password...)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 40) // length, protocol, timeout, session, length, password
	if _, err := io.ReadFull(conn, answer); err != nil {
		t.Fatal(err)
	}
	return int64(binary.BigEndian.Uint64(answer[12:])), answer[24:]
}
