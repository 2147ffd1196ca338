package consul_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/backend/consul"
	"github.com/hustings-go/hustings/internal/faults"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

func TestMain(m *testing.M) {
	if servers.Role() == faults.Role {
		os.Exit(faults.Candidate(openProcess))
	}
	goleak.VerifyTestMain(m)
}

const (
	long  = 60 * time.Second // a TTL that does not run out in a test
	short = consul.MinTTL
)

// wire is a client's connection with its server: it counts requests, can answer them itself, and can die.
type wire struct {
	transport *http.Transport
	blocked   chan struct{}                      // an element for each blocking query begun, if not nil
	answer    func(*http.Request) *http.Response // instead of the server, if not nil and it returns one
	fail      func(*http.Request) error          // instead of all, if not nil and it returns an error
	count     *atomic.Int64                      // of many wires, if not nil

	beforeRenewal func(context.Context) // called before each renewal, if not nil
	beforeTxn     func()                // called before each transaction, if not nil

	all, queries, renewals, txns atomic.Int64

	broken atomic.Int64 // queries that were cancelled

	mu     sync.Mutex
	dead   bool
	conns  []net.Conn
	asking map[string]int // queries that block now, by key
	most   int            // requests of any kind at once, as each has a connection
	now    int
}

func newWire() *wire {
	w := &wire{transport: &http.Transport{}}
	w.transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		w.mu.Lock()
		defer w.mu.Unlock()
		if err == nil && w.dead {
			conn.Close()
			return nil, errDead
		}
		w.conns = append(w.conns, conn)
		return conn, err
	}
	return w
}

// countWaits makes a wire that tells of every blocking query.
func countWaits() *wire {
	w := newWire()
	w.blocked = make(chan struct{}, 4096)
	return w
}

var errDead = errors.New("the wire is dead")

// die closes all connections for good.
func (w *wire) die() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = true
	for _, conn := range w.conns {
		if conn != nil {
			conn.Close()
		}
	}
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	if w.fail != nil {
		if err := w.fail(req); err != nil {
			return nil, err
		}
	}
	defer w.enter(req)()
	w.all.Add(1)
	if w.count != nil {
		w.count.Add(1)
	}
	switch path := req.URL.Path; {
	case strings.HasPrefix(path, "/v1/session/renew/"):
		w.renewals.Add(1)
		if w.beforeRenewal != nil {
			w.beforeRenewal(req.Context())
		}
	case path == "/v1/txn":
		w.txns.Add(1)
		if w.beforeTxn != nil {
			w.beforeTxn()
		}
	case req.URL.Query().Get("index") != "":
		w.queries.Add(1)
		if w.blocked != nil {
			w.blocked <- struct{}{}
		}
	}
	if w.answer != nil {
		if resp := w.answer(req); resp != nil && req.Context().Err() == nil {
			return resp, nil
		}
	}
	resp, err := w.transport.RoundTrip(req)
	if err != nil && req.URL.Query().Get("index") != "" && errors.Is(req.Context().Err(), context.Canceled) {
		w.broken.Add(1)
	}
	return resp, err
}

// enter notes a request until its answer begins.
func (w *wire) enter(req *http.Request) (leave func()) {
	key, query := "", req.URL.Query().Get("index") != ""
	if query {
		key = strings.TrimPrefix(req.URL.Path, "/v1/kv/")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now++
	w.most = max(w.most, w.now)
	if query {
		if w.asking == nil {
			w.asking = make(map[string]int)
		}
		w.asking[key]++
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.now--
		if query {
			if w.asking[key]--; w.asking[key] == 0 {
				delete(w.asking, key)
			}
		}
	}
}

// asks waits until the keys on which queries block are these, one for each.
func (w *wire) asks(t testing.TB, keys ...string) {
	t.Helper()
	slices.Sort(keys)
	servers.Await(t, "queries on the right keys", func(context.Context) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if got := slices.Sorted(maps.Keys(w.asking)); !slices.Equal(got, keys) {
			return fmt.Errorf("queries block on %q, want %q", got, keys)
		}
		for key, n := range w.asking {
			if n != 1 {
				return fmt.Errorf("%d queries block on %s", n, key)
			}
		}
		return nil
	})
}

// block waits until queries block on n keys, and sees that it stays so for a moment.
func (w *wire) block(t testing.TB, n int) {
	t.Helper()
	since := time.Now()
	servers.Await(t, fmt.Sprintf("queries on %d keys", n), func(context.Context) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.asking) != n {
			since = time.Now()
			return fmt.Errorf("queries block on %d keys", len(w.asking))
		}
		if time.Since(since) < 200*time.Millisecond {
			return errors.New("not for long yet")
		}
		return nil
	})
}

// atOnce returns how many requests were under way at once, at most.
func (w *wire) atOnce() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.most
}

// waits waits for n more blocking queries.
func (w *wire) waits(t testing.TB, n int) {
	t.Helper()
	for range n {
		trial.Receive(t, "a blocking query", w.blocked)
	}
}

// transaction returns the text of a transaction, and leaves it as it is; of another request, nothing.
func transaction(req *http.Request) string {
	if req.URL.Path != "/v1/txn" {
		return ""
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return ""
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	return string(body)
}

// connect makes a client of its own, closed at the end of the test, after what was registered later.
func connect(t testing.TB, addr string, opts ...func(*api.Config)) *api.Client {
	t.Helper()
	return connectBy(t, newWire(), addr, opts...)
}

func connectBy(t testing.TB, w *wire, addr string, opts ...func(*api.Config)) *api.Client {
	t.Helper()
	config := &api.Config{Address: addr, HttpClient: &http.Client{Transport: w}}
	for _, opt := range opts {
		opt(config)
	}
	client, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.transport.CloseIdleConnections)
	return client
}

// withToken has a client name an ACL token.
func withToken(token string) func(*api.Config) {
	return func(c *api.Config) { c.Token = token }
}

// open makes a Backend on client, closed at the end of the test.
func open(t testing.TB, client *api.Client, opts ...consul.Option) *consul.Backend {
	t.Helper()
	b, err := consul.New(client, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

// entry returns the entry of key, or nil.
func entry(t testing.TB, client *api.Client, key string) *api.KVPair {
	t.Helper()
	pair, _, err := client.KV().Get(key, (&api.QueryOptions{RequireConsistent: true}).WithContext(trial.Within(t)))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// holder returns the session that holds key, which somebody must.
func holder(t testing.TB, client *api.Client, key string) string {
	t.Helper()
	pair := entry(t, client, key)
	if pair == nil || pair.Session == "" {
		t.Fatalf("nobody holds %s: %+v", key, pair)
	}
	return pair.Session
}

// keys returns all keys that begin with prefix.
func keys(t testing.TB, client *api.Client, prefix string) []string {
	t.Helper()
	found, _, err := client.KV().Keys(prefix, "", (&api.QueryOptions{RequireConsistent: true}).WithContext(trial.Within(t)))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// sessions returns all sessions there are.
func sessions(t testing.TB, client *api.Client) []*api.SessionEntry {
	t.Helper()
	found, _, err := client.Session().List((&api.QueryOptions{RequireConsistent: true}).WithContext(trial.Within(t)))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// remove deletes key, as an operator would.
func remove(t testing.TB, client *api.Client, key string) {
	t.Helper()
	if _, err := client.KV().Delete(key, nil); err != nil {
		t.Fatal(err)
	}
}

// destroy ends a session, as an operator would.
func destroy(t testing.TB, client *api.Client, id string) {
	t.Helper()
	if _, err := client.Session().Destroy(id, nil); err != nil {
		t.Fatal(err)
	}
}
