package zookeeper_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/zookeeper"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// toldBefore reports whether what l was granted was promised before that moment.
func toldBefore(l backend.Lease, moment backend.Instant) bool {
	return l.Grant().Sent.Since(moment) < 0
}

// handOver has leader resign and returns what waiting ended with, and whether it won by what was promised before.
func handOver(t testing.TB, leader backend.Lease, waiting <-chan outcome) (won outcome, atHand bool) {
	t.Helper()
	before := backend.Now()
	if err := leader.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	won = trial.Receive(t, "the next win", waiting)
	return won, won.err == nil && toldBefore(won.lease, before)
}

// prove waits for n transactions of proofs.
func (p *proofs) await(t testing.TB, n int64) {
	t.Helper()
	from := p.n.Load()
	servers.Await(t, "proofs", func(context.Context) error {
		if got := p.n.Load() - from; got < n {
			return fmt.Errorf("%d of %d", got, n)
		}
		return nil
	})
}

// Who is next proves its session every so often, with one request for all candidacies on it; who is further back does not, until they are
// next. So a handover needs no request however long they have waited.
func TestWhoIsNextHasAGrantAtHand(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	const n, ttl = 10, 20 * time.Second // of which a twentieth is left to make a proof in
	var first, second proofs
	next := open(t, []string{server.Endpoint()}, zookeeper.WithTTL(ttl), zookeeper.WithDialer((&wiretap{sees: first.count}).dial))
	further := open(t, []string{server.Endpoint()}, zookeeper.WithTTL(ttl), zookeeper.WithDialer((&wiretap{sees: second.count}).dial))
	leaders, waiting, behind := make([]backend.Lease, n), make([]<-chan outcome, n), make([]<-chan outcome, n)
	holds := open(t, []string{server.Endpoint()}, zookeeper.WithTTL(time.Minute))
	for i := range leaders {
		key := fmt.Sprintf("next/%d", i)
		leaders[i] = win(t, holds, key, "leader")
		waiting[i] = campaign(t, t.Context(), next, key, "next")
		queued(t, operator, key, 2)
		behind[i] = campaign(t, t.Context(), further, key, "further")
		queued(t, operator, key, 3)
	}
	first.await(t, 1) // the first may be due at any time
	began := time.Now()
	const rounds = 2
	first.await(t, rounds)
	if took, least := time.Since(began), (rounds-1)*ttl/5; took < least {
		t.Errorf("%d proofs within %v for %d candidacies of one session, want one each %v", rounds, took, n, ttl/5)
	}
	if most := first.most.Load(); most != 1 {
		t.Errorf("%d terms in a proof, want one for all", most)
	}
	if got := second.n.Load(); got != 0 {
		t.Errorf("who was further back made %d proofs", got)
	}
	for _, waiting := range [][]<-chan outcome{waiting, behind} {
		for i := range leaders {
			won, atHand := handOver(t, leaders[i], waiting[i])
			if won.err != nil {
				t.Fatal(won.err)
			}
			if age := backend.Now().Since(won.lease.Grant().Sent); !atHand || won.lease.Grant().TTL < ttl/2 {
				t.Errorf("won by a grant of %v, %v old, that was asked for after the release", won.lease.Grant().TTL, age)
			}
			if _, err := won.lease.Renew(trial.Within(t)); err != nil {
				t.Error(err)
			}
			leaders[i] = won.lease
		}
		servers.Await(t, "a proof of those who are next now", func(ctx context.Context) error {
			if second.n.Load() > 0 {
				return nil
			}
			return errors.Join(append(trial.RenewAll(ctx, leaders), errors.New("none yet"))...)
		})
	}
}

// A grant that grew old, because nothing could be proved, wins nothing.
func TestAWinDoesNotGoByAnOldGrant(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	const key = "old"
	leader := win(t, open(t, []string{server.Endpoint()}), key, "leader")
	var p proofs
	b := open(t, []string{server.Endpoint()}, zookeeper.WithTTL(shortTTL), zookeeper.WithDialer((&wiretap{sees: p.count}).dial))
	waiting := campaign(t, t.Context(), b, key, "next")
	own := queued(t, operator, key, 2)[1]
	p.await(t, 1) // so that it has watched its own node, which it may not read after this
	if _, err := operator.SetACL(own, zk.DigestACL(zk.PermAll, "somebody", "else"), -1); err != nil {
		t.Fatal(err)
	}
	p.await(t, 3) // which are refused
	won, _ := handOver(t, leader, waiting)
	trial.MustBe(t, "a candidate that can prove nothing", won.err, backend.ErrDenied)
}

// On a new connection a candidate looks that its own node is there, and goes on having a grant at hand.
func TestAGrantIsAtHandAfterANewConnection(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	const key = "again"
	leader := win(t, open(t, []string{server.Endpoint()}), key, "leader")
	tap := &wiretap{watches: make(chan struct{}, 16)}
	b := open(t, []string{server.Endpoint()}, zookeeper.WithTTL(time.Minute), zookeeper.WithDialer(tap.dial)) // so that none is old
	waiting := campaign(t, t.Context(), b, key, "next")
	queued(t, operator, key, 2)
	for range 2 {
		trial.Receive(t, "a watch", tap.watches)
	}
	tap.drop()
	trial.Receive(t, "a watch on its own node", tap.watches)
	won, atHand := handOver(t, leader, waiting)
	if won.err != nil || !atHand {
		t.Errorf("won by a grant at hand: %t, error %v", atHand, won.err)
	}
}

// What happened while there was no connection is told in any order: that the node before its own went does not tell then that
// its own is there.
func TestAReconnectionTellsNobodyThatTheyHaveWon(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	const n = 16 // of which about half are told of the leader's end first
	holds := open(t, []string{server.Endpoint()}, zookeeper.WithTTL(time.Minute))
	tap := &wiretap{}
	b := open(t, []string{server.Endpoint()}, zookeeper.WithTTL(long), zookeeper.WithDialer(tap.dial))
	var nodes []string
	waiting := make([]<-chan outcome, n)
	for i := range waiting {
		key := fmt.Sprintf("apart/%d", i)
		win(t, holds, key, "leader")
		waiting[i] = campaign(t, t.Context(), b, key, "next")
		both := queued(t, operator, key, 2)
		nodes = append(nodes, both[1], both[0])
	}
	<-time.After(servers.ZooKeeperTick) // until all are watched
	tap.kill()
	for _, node := range nodes {
		if err := operator.Delete(node, -1); err != nil {
			t.Fatal(err)
		}
	}
	tap.revive()
	for i := range waiting {
		if won := trial.Receive(t, "the end of a candidacy", waiting[i]); won.err == nil {
			t.Errorf("candidate %d won with a node that was deleted before the leader's", i)
		}
	}
}

// A candidate whose node an operator deletes together with the leader's has not won, or is told at once that it has lost.
func TestNobodyLeadsWithANodeThatWentWithTheLeaders(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	holds := open(t, []string{server.Endpoint()}, zookeeper.WithTTL(time.Minute))
	b := open(t, []string{server.Endpoint()}, zookeeper.WithTTL(time.Minute)) // so that nothing lapses
	wins := map[bool]int{}
	for i := range 40 {
		key, ownFirst := fmt.Sprintf("together/%d", i), i%2 == 0
		win(t, holds, key, "leader")
		waiting := campaign(t, t.Context(), b, key, "next")
		nodes := queued(t, operator, key, 2)
		<-time.After(servers.ZooKeeperTick / 4) // so that it is watched, most times
		if ownFirst {
			slices.Reverse(nodes)
		}
		if _, err := operator.Multi(&zk.DeleteRequest{Path: nodes[0], Version: -1}, &zk.DeleteRequest{Path: nodes[1], Version: -1}); err != nil {
			t.Fatal(err)
		}
		won := trial.Receive(t, "the end of a candidacy", waiting)
		if won.err != nil {
			continue
		}
		wins[ownFirst]++
		began := time.Now()
		trial.MustBe(t, "a term whose node is gone", won.lease.Wait(trial.Within(t)), backend.ErrLost)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("told of the loss after %v", took)
		}
		if _, err := won.lease.Renew(trial.Within(t)); !errors.Is(err, backend.ErrLost) {
			t.Errorf("Renew of a term whose node is gone: %v", err)
		}
	}
	t.Logf("%d of 20 won where the leader's node was deleted first, %d where their own was", wins[false], wins[true])
	if wins[true] > 0 {
		t.Error("won after their own end was told")
	}
}
