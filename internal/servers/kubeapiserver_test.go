//go:build unix

package servers_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hustings-go/hustings/internal/servers"
)

func TestKubeAPIServerKeepsLeasesWhenRestarted(t *testing.T) {
	kube := servers.StartKubeAPIServer(t)
	const leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
	lease := `{"metadata":{"name":"color"},"spec":{"holderIdentity":"red","leaseDurationSeconds":15}}`
	if _, err := kube.Call(t.Context(), http.MethodPost, leases, lease); err != nil {
		t.Fatal(err)
	}
	kube.Kill()
	kube.Start()
	kube.WaitReady()
	got, err := kube.Call(t.Context(), http.MethodGet, leases+"/color", "")
	if err != nil || !strings.Contains(got, `"holderIdentity":"red"`) {
		t.Errorf("after a kill the lease is %s, %v", got, err)
	}
}
