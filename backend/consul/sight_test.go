package consul_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/consul"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// observed follows the leaders of a key.
type observed chan backend.Leader

func observe(t testing.TB, b *consul.Backend, key string) observed {
	o := make(observed, 64)
	trial.Beside(t, t.Context(), func(ctx context.Context) error {
		for l, err := range b.Observe(ctx, key) {
			if err != nil {
				return err
			}
			o <- l
		}
		return nil
	})
	return o
}

// until waits for a leader with value, or for none.
func (o observed) until(t testing.TB, value string) {
	t.Helper()
	for {
		if l := trial.Receive(t, fmt.Sprintf("the leader %q", value), o); string(l.Value) == value {
			return
		}
	}
}

// All who wait for a key, hold it or observe it in one Backend share one query.
func TestOneQueryForAKey(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	l := trial.Win(t, open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), "one/key", "x")
	w := newWire()
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long))
	var all []observed
	for range 5 {
		all = append(all, observe(t, b, "one/key"))
	}
	next := trial.Campaign(t, t.Context(), b, "one/key", "y")
	for _, o := range all {
		o.until(t, "x")
	}
	w.asks(t, "one/key")
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	o := trial.Receive(t, "the win", next)
	if o.Err != nil {
		t.Fatal(o.Err)
	}
	waits := trial.Beside(t, trial.Within(t), o.Lease.Wait)
	for _, o := range all {
		o.until(t, "y")
	}
	w.asks(t, "one/key")
	remove(t, connect(t, server.Endpoint()), "one/key")
	trial.MustBe(t, "Wait", trial.Receive(t, "its end", waits), backend.ErrLost)
	for _, o := range all {
		o.until(t, "")
	}
}

// A key that was won gives its query to one that is still waited for, also if it is observed.
func TestAWonKeyGivesItsQueryAway(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	leader := open(t, connect(t, server.Endpoint()), consul.WithTTL(long))
	one, two := trial.Win(t, leader, "away/1", "x"), trial.Win(t, leader, "away/2", "x")
	w := newWire()
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long), consul.WithMaxQueries(1))
	won := trial.Campaign(t, t.Context(), b, "away/1", "y")
	w.asks(t, "away/1")
	seen := observe(t, b, "away/1")
	seen.until(t, "x")
	next := trial.Campaign(t, t.Context(), b, "away/2", "y")
	if err := one.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	if o := trial.Receive(t, "the win", won); o.Err != nil {
		t.Fatal(o.Err)
	}
	seen.until(t, "y")
	w.asks(t, "away/2")
	if err := two.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	if o := trial.Receive(t, "the next win", next); o.Err != nil {
		t.Fatal(o.Err)
	}
}

// Keys that are held here can do without a query: others get it, and what becomes of them is told by their proofs, and
// by this Backend's own calls.
func TestHeldKeysDoWithoutAQuery(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	w := newWire()
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long), consul.WithMaxQueries(1))
	one, two := trial.Win(t, b, "without/one", "x"), trial.Win(t, b, "without/two", "x")
	waits := trial.Beside(t, trial.Within(t), one.Wait)
	w.asks(t, "without/one")
	free := observe(t, b, "without/free")
	free.until(t, "")
	w.asks(t, "without/free")
	remove(t, operator, "without/one")
	_, err := one.Renew(trial.Within(t))
	trial.MustBe(t, "Renew", err, backend.ErrLost)
	trial.MustBe(t, "Wait", trial.Receive(t, "its end", waits), backend.ErrLost)

	own := observe(t, b, "without/two")
	own.until(t, "x")
	if err := two.Proclaim(trial.Within(t), []byte("y")); err != nil {
		t.Fatal(err)
	}
	own.until(t, "y")
	if err := two.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	own.until(t, "")
	again := trial.Win(t, b, "without/two", "z")
	own.until(t, "z")
	// Not held here any more, it is looked at like others.
	remove(t, operator, "without/two")
	_, err = again.Renew(trial.Within(t))
	trial.MustBe(t, "Renew", err, backend.ErrLost)
	own.until(t, "")
	trial.Win(t, open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), "without/two", "another's")
	own.until(t, "another's")
	w.asks(t, "without/free")
}

// Who observes a key is told at once what this Backend itself does with it, though there is no query on it and no look succeeds.
func TestWhatABackendDoesNeedsNoLook(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := newWire()
	w.answer = func(req *http.Request) *http.Response {
		if text := transaction(req); text != "" && !strings.Contains(text, "~term") { // a look
			<-req.Context().Done()
		}
		return nil
	}
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long), consul.WithMaxQueries(1))
	free := observe(t, b, "does/free")
	free.until(t, "")
	w.asks(t, "does/free")
	own := observe(t, b, "does/key")
	own.until(t, "")
	l := trial.Win(t, b, "does/key", "x")
	own.until(t, "x")
	if err := l.Proclaim(trial.Within(t), []byte("y")); err != nil {
		t.Fatal(err)
	}
	own.until(t, "y")
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	own.until(t, "")
	w.asks(t, "does/free")
}

// Who has no query of its own is told when a session is destroyed by the one that has.
func TestALossCastsDoubtOnTheSession(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	w := newWire()
	var hang atomic.Bool // whoever gets the query next
	w.answer = func(req *http.Request) *http.Response {
		if hang.Load() && strings.HasPrefix(req.URL.Path, "/v1/kv/") && req.URL.Query().Get("index") == "" {
			<-req.Context().Done()
		}
		return nil
	}
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long), consul.WithMaxQueries(1))
	const n = 50
	var waits []<-chan error
	for i := range n {
		l := trial.Win(t, b, fmt.Sprintf("doubt/%d", i), "x")
		waits = append(waits, trial.Beside(t, t.Context(), l.Wait))
		w.asks(t, "doubt/0")
	}
	remove(t, operator, "doubt/0")
	trial.MustBe(t, "Wait of what is lost alone", trial.Receive(t, "its end", waits[0]), backend.ErrLost)
	servers.Await(t, "another to have the query", func(context.Context) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.asking) != 1 || w.asking["doubt/0"] > 0 {
			return fmt.Errorf("queries block on %v", w.asking)
		}
		return nil
	})
	waits = waits[1:]
	for i, end := range waits {
		select {
		case err := <-end:
			t.Fatalf("term %d, which goes on: %v", i+1, err)
		default:
		}
	}
	hang.Store(true)
	destroy(t, operator, holder(t, operator, "doubt/1"))
	for i, end := range waits {
		trial.MustBe(t, "Wait", trial.ReceiveWithin(t, fmt.Sprintf("the end of term %d", i+1), end, 5*time.Second), backend.ErrLost)
	}
}

// A query on a key that is held here blocks for long, also if nobody hears it any more; when the key is not held any more,
// there is another.
func TestAKeyIsWatchedAnewWhenItsTermIsOver(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := countWaits()
	hang := make(chan struct{}, 1)
	hang <- struct{}{}
	w.answer = func(req *http.Request) *http.Response {
		if req.URL.Query().Get("index") != "" {
			select {
			case <-hang: // the first
				<-req.Context().Done()
			default:
			}
		}
		return nil
	}
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(short))
	l := trial.Win(t, b, "anew", "x")
	o := observe(t, b, "anew")
	o.until(t, "x")
	w.waits(t, 1)
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	o.until(t, "")
	trial.Win(t, open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), "anew", "y")
	o.until(t, "y")
}

// A request that fails as if it had been cancelled, because the one was that had the connection before, is made again.
func TestRequestsThatOthersCancelled(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := newWire()
	var mu sync.Mutex
	kinds, made := make(map[string]bool), make(map[string]int)
	w.fail = func(req *http.Request) error {
		kind, text := "", ""
		switch path := req.URL.Path; {
		case strings.HasPrefix(path, "/v1/session/renew/"):
			kind = "renewal"
		case strings.HasPrefix(path, "/v1/kv/") && req.URL.Query().Get("index") != "":
			kind = "query"
		case strings.HasPrefix(path, "/v1/kv/"):
			kind = "look"
		case path == "/v1/txn":
			if text = transaction(req); !strings.Contains(text, `"lock"`) && !strings.Contains(text, `"delete"`) {
				kind = "transaction"
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if made[kind+text]++; kind == "" || made[kind+text]%2 == 0 {
			return nil
		}
		kinds[kind] = true
		return context.Canceled
	}
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long))
	l := trial.Win(t, b, "cancelled", "x")
	waits := trial.Beside(t, trial.Within(t), l.Wait)
	o := observe(t, b, "cancelled")
	o.until(t, "x")
	if _, err := l.Renew(trial.Within(t)); err != nil {
		t.Errorf("Renew: %v", err)
	}
	w.asks(t, "cancelled")
	remove(t, connect(t, server.Endpoint()), "cancelled")
	trial.MustBe(t, "Wait", trial.Receive(t, "its end", waits), backend.ErrLost)
	o.until(t, "")
	mu.Lock()
	defer mu.Unlock()
	if len(kinds) != 4 {
		t.Errorf("only these were made: %v", kinds)
	}
}
