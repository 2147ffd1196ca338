//go:build unix

package servers_test

import (
	"context"
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
