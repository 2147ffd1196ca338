package zookeeper_test

import (
	"context"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend/zookeeper"
	"github.com/hustings-go/hustings/election"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// A server that is cut off from the others goes on telling its clients that all is well, long after
// the others have given the key away.
func TestATermIsOverBeforeTheNextWhenItsServerIsCutOff(t *testing.T) {
	const ttl, key = 6 * time.Second, "isolated" // less than the ten seconds after which a follower looks for another leader
	cluster := servers.StartZooKeeperCluster(t, 3, servers.ZooKeeperCuttable())
	a := open(t, []string{cluster.Member(0).Endpoint()}, zookeeper.WithTTL(ttl))
	b := open(t, []string{cluster.Leader().Endpoint()}, zookeeper.WithTTL(ttl))
	onlooker := connect(t, cluster.Member(0).Endpoint())

	e, err := election.New(a, key, "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	terms := make(chan *election.Term, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ev := range e.Events(ctx) {
			if ev.State == election.StateLeader {
				select {
				case terms <- ev.Term:
				default:
				}
				<-ev.Context().Done()
			}
		}
	}()
	t.Cleanup(func() {
		leave()
		<-done
	})
	term := trial.Receive(t, "the first term", terms)
	next := campaign(t, t.Context(), b, key, "b")
	record := queued(t, connect(t, cluster.Leader().Endpoint()), key, 2)[0]
	<-time.After(ttl) // so that grants come from renewals

	cluster.CutOff()
	cut := time.Now()
	valid := make(chan time.Time, 1)
	go func() {
		last := cut
		for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
			now := time.Now()
			if !term.Valid() {
				tick.Stop()
				valid <- last
				return
			}
			last = now
		}
	}()
	won := trial.Receive(t, "the next term", next)
	at := time.Now()
	if won.err != nil {
		t.Fatal(won.err)
	}
	if exists, _, err := onlooker.Exists(record); err == nil && exists {
		t.Log("the server that is cut off still says that the old leader's node is there")
	}
	last := trial.Receive(t, "the end of the old term", valid)
	t.Logf("cut off at 0; the old term was valid last at %v, the new one began at %v", last.Sub(cut), at.Sub(cut))
	if !last.Before(at) {
		t.Errorf("two valid terms for %v", last.Sub(at))
	}
	if won.lease.Token() <= term.Token() {
		t.Errorf("token %d after %d", won.lease.Token(), term.Token())
	}
	if err := won.lease.Resign(trial.Within(t)); err != nil {
		t.Error(err)
	}
	cluster.Rejoin()
}
