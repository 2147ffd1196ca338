package consul_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/consul"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// holding is many terms of one Backend, and what it sends.
type holding struct {
	t      *testing.T
	w      *wire
	b      *consul.Backend
	key    func(int) string
	leases []backend.Lease
	lists  atomic.Int64
}

// hold wins n keys below folder.
func hold(t *testing.T, addr, folder string, n int, opts ...func(*api.Config)) *holding {
	t.Helper()
	h := &holding{t: t, w: newWire(), key: func(i int) string { return fmt.Sprintf("%s/%d", folder, i) }}
	h.w.answer = func(req *http.Request) *http.Response {
		if q := req.URL.Query(); strings.HasPrefix(req.URL.Path, "/v1/kv/") && q.Has("keys") {
			h.lists.Add(1)
			if !q.Has("consistent") {
				t.Error("a list of keys does not ask for consistency")
			}
		}
		return nil
	}
	h.b = open(t, connectBy(t, h.w, addr, opts...), consul.WithTTL(long))
	for i := range n {
		h.leases = append(h.leases, trial.Win(t, h.b, h.key(i), "x"))
	}
	return h
}

// renew renews all and returns how many requests that took. Those that are not to be lost must be renewed.
func (h *holding) renew(lost ...int) int64 {
	h.t.Helper()
	before := h.w.all.Load()
	for i, err := range trial.RenewAll(trial.Within(h.t), h.leases) {
		want := false
		for _, l := range lost {
			want = want || l == i
		}
		switch {
		case want:
			trial.MustBe(h.t, "the term that was lost", err, backend.ErrLost)
		case err != nil:
			h.t.Errorf("term %d: %v", i, err)
		}
	}
	return h.w.all.Load() - before
}

// settle renews until one list proves all. That needs them all to renew at the same time, which a busy machine may prevent.
func (h *holding) settle() {
	h.t.Helper()
	for range 20 {
		if h.renew() == 2 {
			return
		}
	}
	h.t.Fatal("many terms are not proved by one request, besides the session's renewal")
}

// Many terms of one folder are proved by one request; and if one of them is lost in any way, it alone is.
func TestOneRequestProvesMany(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	const n = 200
	again := func(key string) { // held by another session, with the same names as before
		other := trial.Win(t, open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), key, "z")
		if other.Token() == 0 {
			t.Error("no token")
		}
	}
	for name, lose := range map[string]func(key string){
		"deleted":         func(key string) { remove(t, operator, key) },
		"half of it gone": func(key string) { remove(t, operator, key+"~term") },
		"taken by another": func(key string) {
			remove(t, operator, key)
			remove(t, operator, key+"~term")
			again(key)
		},
		"unlocked": func(key string) {
			pair := entry(t, operator, key)
			if ok, _, err := operator.KV().Release(pair, nil); err != nil || !ok {
				t.Errorf("Release: %v, %v", ok, err)
			}
		},
		"its token overwritten": func(key string) {
			pair := entry(t, operator, key+"~term")
			pair.Value = []byte("something else")
			if _, err := operator.KV().Put(pair, nil); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := hold(t, server.Endpoint(), "survey/"+strings.ReplaceAll(name, " ", "-"), n)
			h.settle()
			lose(h.key(7))
			h.renew(7)
		})
	}
}

// Who renews alone is proved alone, and not by what was asked before.
func TestWhoRenewsAloneIsProvedAlone(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	h := hold(t, server.Endpoint(), "survey/alone", 100)
	h.settle()
	remove(t, connect(t, server.Endpoint()), h.key(9))
	before := h.lists.Load()
	_, err := h.leases[9].Renew(trial.Within(t))
	trial.MustBe(t, "the term that was lost", err, backend.ErrLost)
	if n := h.lists.Load() - before; n != 0 {
		t.Errorf("%d lists for one", n)
	}
}

// A list that comes while a proof is under way says nothing of how things were at the proof.
func TestAListThatComesDuringAProof(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	rival := open(t, connect(t, server.Endpoint()), consul.WithTTL(long))
	h := hold(t, server.Endpoint(), "survey/during", 100)
	h.settle()
	var armed atomic.Bool
	answered, goOn := make(chan struct{}), make(chan struct{})
	count := h.w.answer
	h.w.answer = func(req *http.Request) *http.Response {
		if req.URL.Path != "/v1/txn" || !armed.Swap(false) {
			return count(req)
		}
		resp, err := h.w.transport.RoundTrip(req)
		close(answered)
		<-goOn
		if err != nil {
			return nil
		}
		return resp
	}
	h.w.beforeRenewal = func(context.Context) { <-time.After(300 * time.Millisecond) } // for all to come to it
	armed.Store(true)
	alone := trial.Beside(t, trial.Within(t), func(ctx context.Context) error { _, err := h.leases[7].Renew(ctx); return err })
	trial.Receive(t, "the proof", answered)
	remove(t, operator, h.key(7))
	remove(t, operator, h.key(7)+"~term")
	trial.Win(t, rival, h.key(7), "z")
	before, others := h.lists.Load(), slices.Delete(slices.Clone(h.leases), 7, 8)
	for range 2 { // first by the renewal that there was
		for i, err := range trial.RenewAll(trial.Within(t), others) {
			if err != nil {
				t.Errorf("term %d of the others: %v", i, err)
			}
		}
	}
	if h.lists.Load() == before {
		t.Error("there was no list, so that nothing is seen")
	}
	close(goOn)
	if err := trial.Receive(t, "the end of the renewal", alone); err != nil {
		t.Errorf("the renewal that was proved before the loss: %v", err)
	}
	h.renew(7)
}

// What a list does not name is not proved by it: Consul leaves out what the ACL token may not read, and forgets
// in time that something was deleted.
func TestAListMustNameWhatItProves(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	for _, half := range []string{"", "~term"} {
		h := hold(t, server.Endpoint(), "survey/names"+half[min(1, len(half)):], 100)
		h.settle()
		h.w.answer = func(req *http.Request) *http.Response {
			if !req.URL.Query().Has("keys") {
				return nil
			}
			resp, err := h.w.transport.RoundTrip(req)
			if err != nil {
				return nil
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				return nil
			}
			body = bytes.Replace(body, []byte(`"`+h.key(5)+half+`"`), []byte(`"survey/other"`), 1)
			resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			return resp
		}
		before := h.w.txns.Load()
		h.renew()
		if h.w.txns.Load() == before {
			t.Errorf("a list without %s proves its term", h.key(5)+half)
		}
	}
}

// What is announced anew, or won, has all terms proved one by one once, and not again.
func TestManyAreProvedAfterAChange(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	h := hold(t, server.Endpoint(), "survey/change", 200)
	h.settle()
	if err := h.leases[3].Proclaim(trial.Within(t), []byte("y")); err != nil {
		t.Fatal(err)
	}
	before := h.w.txns.Load()
	h.renew()
	if n := h.w.txns.Load() - before; n < 4 {
		t.Errorf("%d transactions prove 200 terms after a change", n)
	}
	h.settle()
}

// A folder that holds mostly other keys is listed once, and one that may not be listed not more often. Nothing is lost.
func TestWhereAListIsOfNoUse(t *testing.T) {
	t.Parallel()
	const n = 100
	times := func(h *holding, most int64) {
		t.Helper()
		for range 4 {
			h.renew()
		}
		if got := h.lists.Load(); got < 1 || got > most {
			t.Errorf("%d lists, want 1 to %d", got, most)
		}
	}
	t.Run("foreign keys", func(t *testing.T) {
		t.Parallel()
		server := servers.StartConsul(t)
		operator := connect(t, server.Endpoint())
		for i := range 10 {
			var txn api.TxnOps
			for j := range 64 {
				txn = append(txn, &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVSet, Key: fmt.Sprintf("survey/foreign/x%d-%d", i, j), Value: []byte("x")}})
			}
			if ok, resp, _, err := operator.Txn().Txn(txn, nil); err != nil || !ok {
				t.Fatal(err, resp)
			}
		}
		times(hold(t, server.Endpoint(), "survey/foreign", n), 1)
	})
	t.Run("no right to list", func(t *testing.T) {
		t.Parallel()
		server := servers.StartConsul(t, servers.ConsulACLs(), servers.ConsulSettings(map[string]any{"acl_enable_key_list_policy": true}))
		operator := connect(t, server.Endpoint(), withToken(server.Token()))
		rules := `session_prefix "" { policy = "write" }`
		for i := range n {
			rules += fmt.Sprintf(`
				key "survey/denied/%[1]d" { policy = "write" }
				key "survey/denied/%[1]d~term" { policy = "write" }`, i)
		}
		policy, _, err := operator.ACL().PolicyCreate(&api.ACLPolicy{Name: "candidate", Rules: rules}, nil)
		if err != nil {
			t.Fatal(err)
		}
		token, _, err := operator.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{ID: policy.ID}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		times(hold(t, server.Endpoint(), "survey/denied", n, withToken(token.SecretID)), 1)
	})
	t.Run("a list that does not come", func(t *testing.T) {
		t.Parallel()
		server := servers.StartConsul(t)
		h := hold(t, server.Endpoint(), "survey/hangs", n)
		count := h.w.answer
		h.w.answer = func(req *http.Request) *http.Response {
			count(req)
			if req.URL.Query().Has("keys") {
				<-req.Context().Done()
			}
			return nil
		}
		began := time.Now()
		times(h, 1)
		if took := time.Since(began); took > long/10 {
			t.Errorf("four renewals took %v", took)
		}
	})
	t.Run("no folder", func(t *testing.T) {
		t.Parallel()
		server := servers.StartConsul(t)
		h := hold(t, server.Endpoint(), "survey", n)
		h.key = nil
		for i := range n {
			if err := h.leases[i].Resign(trial.Within(t)); err != nil {
				t.Fatal(err)
			}
			h.leases[i] = trial.Win(t, h.b, fmt.Sprintf("survey-%d", i), "x")
		}
		h.renew()
		h.renew()
		if got := h.lists.Load(); got != 0 {
			t.Errorf("%d lists of what is in no folder", got)
		}
	})
	t.Run("ever changing", func(t *testing.T) {
		t.Parallel()
		server := servers.StartConsul(t)
		h := hold(t, server.Endpoint(), "survey/changing", n)
		for i := range 8 {
			h.renew()
			if err := h.leases[i].Proclaim(trial.Within(t), []byte("y")); err != nil {
				t.Fatal(err)
			}
		}
		if got := h.lists.Load(); got < 1 || got > 3 {
			t.Errorf("%d lists in eight renewals, want 3", got)
		}
	})
}
