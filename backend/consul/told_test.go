package consul_test

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
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

// A proof that was refused is no loss, if the record turns out to be the term's own. No Consul refuses so: it is made up.
func TestARefusedProofIsNoLoss(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := newWire()
	var refuse atomic.Bool
	w.answer = func(req *http.Request) *http.Response {
		if !strings.Contains(transaction(req), `"check-session"`) || !refuse.Swap(false) {
			return nil
		}
		text := `{"Results":null,"Errors":[{"OpIndex":0,"What":"failed session check"}]}`
		return &http.Response{StatusCode: http.StatusConflict, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(text)), Request: req}
	}
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long))
	l := trial.Win(t, b, "refused", "x")
	for name, do := range map[string]func() error{
		"Renew":    func() error { _, err := l.Renew(trial.Within(t)); return err },
		"Proclaim": func() error { return l.Proclaim(trial.Within(t), []byte("y")) },
	} {
		refuse.Store(true)
		err := do()
		trial.MustPass(t, name, err)
		if refuse.Load() {
			t.Errorf("%s: nothing was refused", name)
		}
		if err := do(); err != nil {
			t.Errorf("%s again: %v", name, err)
		}
	}
}

// A candidate that finds the session gone tells the leaders who stand on it, also those for whose keys there is no query.
func TestWhoWaitsTellsWhoLeadsThatTheSessionIsGone(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	leader := open(t, connect(t, server.Endpoint()), consul.WithTTL(long))
	trial.Win(t, leader, "gone/observed", "x")
	trial.Win(t, leader, "gone/waiting", "x")
	w := newWire()
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(short), consul.WithMaxQueries(1))
	l := trial.Win(t, b, "gone/held", "x")
	waits := trial.Beside(t, trial.Within(t), l.Wait)
	w.asks(t, "gone/held")
	observe(t, b, "gone/observed").until(t, "x")
	w.asks(t, "gone/observed") // which keeps it
	waiting := trial.Campaign(t, t.Context(), b, "gone/waiting", "y")
	destroy(t, operator, holder(t, operator, "gone/held"))
	trial.MustPass(t, "Campaign", trial.Receive(t, "the end of the candidacy", waiting).Err)
	trial.MustBe(t, "Wait", trial.ReceiveWithin(t, "its end", waits, 5*time.Second), backend.ErrLost)
}

// An observer that saw a term does not go back to an earlier one, though the store does.
func TestAnObserverDoesNotGoBack(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	b := open(t, connect(t, server.Endpoint()), consul.WithTTL(long))
	first := trial.Win(t, b, "goes/back", "first")
	file := filepath.Join(t.TempDir(), "snapshot")
	server.Ctl("snapshot", "save", file)
	if err := first.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	second := trial.Win(t, b, "goes/back", "second")
	seen := make(chan backend.Leader, 64)
	end := trial.Beside(t, t.Context(), func(ctx context.Context) error {
		for l, err := range open(t, connect(t, server.Endpoint()), consul.WithTTL(short)).Observe(ctx, "goes/back") {
			if err != nil {
				return err
			}
			seen <- l
		}
		return nil
	})
	if l := trial.Receive(t, "the leader", seen); l.Token != second.Token() {
		t.Errorf("observed token %d, want %d", l.Token, second.Token())
	}
	server.Ctl("snapshot", "restore", file)
	select {
	case err := <-end:
		trial.MustPass(t, "Observe", err)
		if err == nil || !strings.Contains(err.Error(), "went back in time") {
			t.Errorf("Observe: %v", err)
		}
	case l := <-seen:
		t.Errorf("after token %d %q was observed with token %d", second.Token(), l.Value, l.Token)
	case <-time.After(trial.Patience):
		t.Error("nothing was told")
	}
}

// A native leader that announces another value goes on with its term; one that gave the key up, and has taken it again, does not, even
// if nobody saw it free. As with ours, no token is less than one before it.
func TestWhatANativeLeaderDoes(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	session, _, err := operator.Session().CreateNoChecks(&api.SessionEntry{TTL: "60s"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := open(t, connect(t, server.Endpoint()), consul.WithTTL(long))
	ours := trial.Win(t, b, "native/key", "ours")
	o := observe(t, open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), "native/key")
	o.until(t, "ours")
	remove(t, operator, "native/key") // its sibling stays
	do := func(value string, verbs ...api.KVOp) uint64 {
		t.Helper()
		var txn api.TxnOps
		for _, verb := range verbs {
			txn = append(txn, &api.TxnOp{KV: &api.KVTxnOp{Verb: verb, Key: "native/key", Value: []byte(value), Session: session, Flags: api.LockFlagValue}})
		}
		if ok, resp, _, err := operator.Txn().Txn(txn, nil); err != nil || !ok {
			t.Fatal(err, resp)
		}
		for {
			if l := trial.Receive(t, "the leader "+value, o); string(l.Value) == value {
				return l.Token
			}
		}
	}
	first := do("one", api.KVLock)
	if first <= ours.Token() {
		t.Errorf("token %d after ours, which is %d", first, ours.Token())
	}
	if token := do("another value", api.KVLock); token != first {
		t.Errorf("token %d, and with another value %d", first, token)
	}
	if token := do("another term", api.KVUnlock, api.KVLock); token <= first {
		t.Errorf("token %d after %d", token, first)
	}
}
