//go:build unix

package servers_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hustings-go/hustings/internal/servers"
)

func TestEtcdServesOnceItIsStarted(t *testing.T) {
	etcd := servers.StartEtcd(t)
	dial(t, etcd.Endpoint())
	etcd.Restart()
	dial(t, etcd.Endpoint())
}

func TestEtcdKeepsItsDataWhenRestarted(t *testing.T) {
	etcd := servers.StartEtcd(t)
	etcd.Ctl("put", "color", "red")
	etcd.Restart()
	if got := etcd.Ctl("get", "--print-value-only", "color"); got != "red\n" {
		t.Errorf("after a restart the value is %q", got)
	}
	etcd.Ctl("put", "color", "blue")
	etcd.Kill()
	etcd.Start()
	etcd.WaitReady()
	if got := etcd.Ctl("get", "--print-value-only", "color"); got != "blue\n" {
		t.Errorf("after a kill the value is %q", got)
	}
}

func TestEtcdClusterElectsAnotherLeaderWhenItsLeaderIsKilled(t *testing.T) {
	cluster := servers.StartEtcdCluster(t, 3)
	first := cluster.Leader()
	first.Kill()
	second := cluster.Leader()
	if second == first {
		t.Fatal("the member that was killed still leads")
	}
	second.Ctl("put", "color", "red")
	first.Start()
	cluster.WaitReady()
	if got := first.Ctl("get", "--print-value-only", "color"); got != "red\n" {
		t.Errorf("the member that came back reads %q", got)
	}
	cluster.MoveLeader(first)
	if got := cluster.Leader(); got != first {
		t.Error("the leadership was not moved")
	}
}

func TestEtcdWithAuthRefusesWhoeverHasNoPassword(t *testing.T) {
	cluster := servers.StartEtcdCluster(t, 3)
	cluster.Member(0).EnableAuth("secret")
	cluster.Member(1).Ctl("put", "color", "red") // as root, and at any member

	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.Post(cluster.Member(2).URL()+"/v3/kv/range", "application/json", strings.NewReader(`{"key":"Y29sb3I="}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		t.Error("somebody without a name may read")
	}
	cluster.Member(0).Restart() // it can tell that it serves with auth enabled as well
}

func TestEtcdClusterElectsAnotherLeaderWhenItsLeaderIsPaused(t *testing.T) {
	cluster := servers.StartEtcdCluster(t, 3)
	first := cluster.Leader()
	first.Pause()
	if cluster.Leader() == first {
		t.Fatal("the paused member still leads")
	}
	first.Resume()
	cluster.WaitReady()
}
