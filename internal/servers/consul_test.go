//go:build unix

package servers_test

import (
	"net/http"
	"testing"

	"github.com/hustings-go/hustings/internal/servers"
)

func TestConsulKeepsItsDataWhenRestarted(t *testing.T) {
	consul := servers.StartConsul(t)
	dial(t, consul.Endpoint())
	consul.Ctl("kv", "put", "color", "red")
	consul.Restart()
	if got := consul.Ctl("kv", "get", "color"); got != "red\n" {
		t.Errorf("after a restart the value is %q", got)
	}
	consul.Ctl("kv", "put", "color", "blue")
	consul.Kill()
	consul.Start()
	consul.WaitReady()
	if got := consul.Ctl("kv", "get", "color"); got != "blue\n" {
		t.Errorf("after a kill the value is %q", got)
	}
}

func TestConsulClusterElectsAnotherLeaderWhenItsLeaderIsKilled(t *testing.T) {
	cluster := servers.StartConsulCluster(t, 3)
	first := cluster.Leader()
	first.Kill()
	second := cluster.Leader()
	if second == first {
		t.Fatal("the server that was killed still leads")
	}
	second.Ctl("kv", "put", "color", "red")
	first.Start()
	cluster.WaitReady()
	if got := first.Ctl("kv", "get", "color"); got != "red\n" {
		t.Errorf("the server that came back reads %q", got)
	}
}

func TestConsulWithACLsRefusesWhoeverHasNoToken(t *testing.T) {
	consul := servers.StartConsul(t, servers.ConsulACLs())
	consul.Ctl("kv", "put", "color", "red") // as the operator
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.Get(consul.URL() + "/v1/kv/color")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("somebody without a token reads: %s", resp.Status)
	}
}
