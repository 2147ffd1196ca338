package consul_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/consul"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// proofs counts the transactions that prove terms.
type proofs struct {
	n, terms, most atomic.Int64 // transactions; terms in them; most terms in one
}

// count is a wire's answer: it lets all pass.
func (p *proofs) count(req *http.Request) *http.Response {
	text := transaction(req)
	if n := int64(strings.Count(text, `"check-session"`)); n > 0 && !strings.Contains(text, `"delete"`) {
		p.n.Add(1)
		p.terms.Add(n)
		p.most.Store(max(p.most.Load(), n))
	}
	return nil
}

// Terms that renew at the same time are proved together, however many they are, and each is told its own fate.
func TestRenewalsAreProvedTogether(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	for _, n := range []int{1, 10, 100} {
		var p proofs
		w := newWire()
		w.answer = p.count
		b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long))
		key := func(i int) string { return fmt.Sprintf("together/%d/%d", n, i) }
		leases := make([]backend.Lease, n)
		for i := range leases {
			leases[i] = trial.Win(t, b, key(i), "x")
		}
		for _, err := range trial.RenewAll(trial.Within(t), leases) {
			if err != nil {
				t.Error(err)
			}
		}
		// What asks first goes at once, and the rest with the next, 64 to a transaction; that not all ask in
		// the same moment makes it more.
		sent, most := p.n.Load(), p.most.Load()
		if at := int64(1 + n/10); sent > max(at, int64(min(n, 4))) || p.terms.Load() != int64(n) || most > 64 {
			t.Errorf("%d terms: %d proofs in %d transactions, at most %d in one", n, p.terms.Load(), sent, most)
		}
		t.Logf("%d terms: %d transactions, at most %d in one", n, sent, most)
		lost := n / 2
		remove(t, operator, key(lost))
		for i, err := range trial.RenewAll(trial.Within(t), leases) {
			switch {
			case i == lost:
				trial.MustBe(t, "the term whose key was deleted", err, backend.ErrLost)
			case err != nil:
				t.Errorf("term %d beside one that is lost: %v", i, err)
			}
		}
	}
}

// A proof that hangs costs those who share it one attempt, also while somebody with more patience stays.
func TestAProofThatHangs(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := newWire()
	var armed atomic.Bool
	hung := make(chan struct{})
	w.answer = func(req *http.Request) *http.Response {
		if req.URL.Path == "/v1/txn" && armed.CompareAndSwap(true, false) {
			close(hung)
			<-req.Context().Done()
		}
		return nil
	}
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(15*time.Second))
	leases := make([]backend.Lease, 20)
	for i := range leases {
		leases[i] = trial.Win(t, b, fmt.Sprintf("hangs/proof/%d", i), "x")
	}
	armed.Store(true)
	trial.Beside(t, t.Context(), func(ctx context.Context) error { _, err := leases[0].Renew(ctx); return err })
	trial.Receive(t, "the first proof", hung)
	var all sync.WaitGroup
	for i, l := range leases[1:] {
		all.Go(func() {
			var err error
			for range 2 { // as an election makes them: a tenth of the TTL for each
				ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
				_, err = l.Renew(ctx)
				cancel()
				if err == nil {
					return
				}
			}
			t.Errorf("term %d: two attempts failed because of one proof that hung: %v", i, err)
		})
	}
	all.Wait()
}

// A right that one term lost is nothing to those that are proved with it.
func TestATermThatMayNotBeProved(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t, servers.ConsulACLs())
	operator := connect(t, server.Endpoint(), withToken(server.Token()))
	const rules = `key_prefix "proved/" { policy = "write" } session "consul0" { policy = "write" }`
	policy, _, err := operator.ACL().PolicyCreate(&api.ACLPolicy{Name: "proved", Rules: rules}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := operator.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{ID: policy.ID}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var p proofs
	w := newWire()
	w.answer = p.count
	b := open(t, connectBy(t, w, server.Endpoint(), withToken(token.SecretID)), consul.WithTTL(long))
	leases := make([]backend.Lease, 20)
	for i := range leases {
		leases[i] = trial.Win(t, b, fmt.Sprintf("proved/%d", i), "x")
	}
	policy.Rules = rules + ` key "proved/7" { policy = "deny" }`
	if _, _, err := operator.ACL().PolicyUpdate(policy, nil); err != nil {
		t.Fatal(err)
	}
	servers.Await(t, "the right to be gone", func(ctx context.Context) error {
		if _, err := leases[7].Renew(ctx); !errors.Is(err, backend.ErrDenied) {
			return fmt.Errorf("renewed with %w", errors.Join(err, errors.New("not denied")))
		}
		return nil
	})
	remove(t, operator, "proved/3")
	p.most.Store(0)
	for i, err := range trial.RenewAll(trial.Within(t), leases) {
		switch {
		case i == 7:
			trial.MustBe(t, "the term that may not be proved", err, backend.ErrDenied)
		case i == 3:
			trial.MustBe(t, "the term that is lost beside it", err, backend.ErrLost)
		case err != nil:
			t.Errorf("term %d beside it: %v", i, err)
		}
	}
	if p.most.Load() < 2 {
		t.Error("no two terms were proved together, so that nothing was seen")
	}
}
