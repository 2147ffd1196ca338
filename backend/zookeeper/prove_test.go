package zookeeper_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/zookeeper"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// long is for leases that shall not run out, whatever the machine does.
const long = 40 * servers.ZooKeeperTick

// proofs counts the transactions that a client sends, of which all are proofs.
type proofs struct {
	n, terms, most atomic.Int64 // transactions; terms in them; most terms in one
}

func (p *proofs) count(packet []byte) {
	if len(packet) < 12 || !bytes.Equal(packet[8:12], []byte{0, 0, 0, opMulti}) {
		return
	}
	n := int64(bytes.Count(packet, []byte("-latch-")))
	p.n.Add(1)
	p.terms.Add(n)
	p.most.Store(max(p.most.Load(), n))
}

// Terms that renew at the same time are proved together, however many they are, and each is told its own fate.
func TestRenewalsAreProvedTogether(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	for _, n := range []int{1, 10, 250} {
		var p proofs
		tap := &wiretap{sees: p.count}
		b := open(t, []string{server.Endpoint()}, zookeeper.WithDialer(tap.dial), zookeeper.WithTTL(time.Minute)) // longer than so many wins take
		key := func(i int) string { return fmt.Sprintf("together/%d/%d", n, i) }
		leases := make([]backend.Lease, n)
		for i := range leases {
			leases[i] = win(t, b, key(i), "x")
		}
		p.n.Store(0)
		p.terms.Store(0)
		errs := trial.RenewAll(trial.Within(t), leases)
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
		// What asks first goes at once, and the rest with the next, 100 to a transaction; that not all ask in the
		// same moment makes it more.
		sent, most := p.n.Load(), p.most.Load()
		if sent > int64(1+n/2) || p.terms.Load() != int64(n) || most > 100 {
			t.Errorf("%d terms: %d proofs in %d transactions, at most %d in one", n, p.terms.Load(), sent, most)
		}
		t.Logf("%d terms: %d transactions, at most %d in one", n, sent, most)
		gone := map[int]bool{n / 2: true, n - 1: true}
		for i := range gone {
			if err := operator.Delete(queued(t, operator, key(i), 1)[0], -1); err != nil {
				t.Fatal(err)
			}
		}
		errs = trial.RenewAll(trial.Within(t), leases)
		for i, err := range errs {
			switch {
			case gone[i]:
				trial.MustBe(t, "the term whose node was deleted", err, backend.ErrLost)
			case err != nil:
				t.Errorf("term %d beside those that are lost: %v", i, err)
			}
		}
	}
}

// A right that one term lost is nothing to those that are proved with it.
func TestATermThatMayNotBeProved(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	var p proofs
	tap := &wiretap{sees: p.count}
	b := open(t, []string{server.Endpoint()}, zookeeper.WithDialer(tap.dial), zookeeper.WithTTL(long))
	leases := make([]backend.Lease, 20)
	for i := range leases {
		leases[i] = win(t, b, fmt.Sprintf("proved/%d", i), "x")
	}
	node := queued(t, operator, "proved/7", 1)[0]
	if _, err := operator.SetACL(node, zk.DigestACL(zk.PermAll, "somebody", "else"), -1); err != nil {
		t.Fatal(err)
	}
	errs := trial.RenewAll(trial.Within(t), leases)
	for i, err := range errs {
		switch {
		case i == 7:
			trial.MustBe(t, "the term that may not be proved", err, backend.ErrDenied)
		case err != nil:
			t.Errorf("term %d beside it: %v", i, err)
		}
	}
	if p.most.Load() < 2 {
		t.Error("no two terms were proved together, so that nothing was seen")
	}
}

// Renewals that fall apart come to fall together, whatever their first phases are; and a term that shares the beginning of
// another's grant is proved nonetheless.
func TestRenewalsFindARhythm(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	var p proofs
	tap := &wiretap{sees: p.count}
	b := open(t, []string{server.Endpoint()}, zookeeper.WithDialer(tap.dial), zookeeper.WithTTL(20*time.Second))
	first, second := win(t, b, "rhythm/1", "x"), win(t, b, "rhythm/2", "x")
	for range 10 { // more than once only where the machine is slow
		g, err := first.Renew(trial.Within(t))
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(g.TTL*35/200 - backend.Now().Since(g.Sent)) // half of the time between two renewals of an election
		before := p.n.Load()
		other, err := second.Renew(trial.Within(t))
		if err != nil {
			t.Fatal(err)
		}
		if p.n.Load() == before {
			t.Fatal("the second term was not proved")
		}
		if other != g {
			continue
		}
		if err := operator.Delete(queued(t, operator, "rhythm/1", 1)[0], -1); err != nil {
			t.Fatal(err)
		}
		if again, err := second.Renew(trial.Within(t)); err != nil || again.Sent.Since(other.Sent) <= 0 {
			t.Errorf("%+v after %+v, error %v: no news", again, other, err)
		}
		_, err = first.Renew(trial.Within(t))
		trial.MustBe(t, "a term that is lost while others keep its rhythm", err, backend.ErrLost)
		return
	}
	t.Error("two that renew amid the times of each other do not find together")
}

// Terms that are won together are due together.
func TestWinsFindARhythm(t *testing.T) {
	server := servers.StartZooKeeper(t)
	b := open(t, []string{server.Endpoint()}, zookeeper.WithTTL(time.Minute)) // of which a tenth is more than two wins take
	first, second := win(t, b, "wins/1", "x"), win(t, b, "wins/2", "x")
	if first.Grant() != second.Grant() {
		t.Errorf("grants %+v and %+v", first.Grant(), second.Grant())
	}
	if g, err := second.Renew(trial.Within(t)); err != nil || g.Sent.Since(second.Grant().Sent) <= 0 {
		t.Errorf("%+v after %+v, error %v: no news", g, second.Grant(), err)
	}
}
