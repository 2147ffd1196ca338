package zookeeper_test

import (
	"testing"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/zookeeper"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// A session whose leftover cannot be removed is given up, and with it the terms on it: but not before what they were granted is over.
func TestASessionIsNotGivenUpUnderAGrant(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	b := open(t, []string{server.Endpoint()}, zookeeper.WithTTL(shortTTL))
	stuck, held := win(t, b, "doom/stuck", "x"), win(t, b, "doom/held", "x")
	next := campaign(t, t.Context(), open(t, []string{server.Endpoint()}), "doom/held", "next")
	queued(t, operator, "doom/held", 2)
	if _, err := operator.SetACL("/hustings/doom/stuck", zk.WorldACL(zk.PermAll&^zk.PermDelete), -1); err != nil {
		t.Fatal(err)
	}
	trial.MustBe(t, "Resign without the right to", stuck.Resign(trial.Within(t)), backend.ErrDenied)
	patient := trial.Within(t)
	for latest := held.Grant(); ; {
		if grant, err := held.Renew(trial.Within(t)); err == nil {
			latest = grant
		}
		select {
		case won := <-next:
			if won.err != nil {
				t.Fatal(won.err)
			}
			if left := latest.TTL - backend.Now().Since(latest.Sent); left > 0 {
				t.Errorf("the next leads while %v are left of what the one before was granted", left)
			}
			return
		case <-patient.Done():
			t.Fatal("the session is not given up")
		default:
		}
	}
}
