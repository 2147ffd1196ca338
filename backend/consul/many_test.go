package consul_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
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

// One process holds more elections than an agent lets in connections, another waits for them all: nothing is lost, and any
// of them is handed over.
func TestMoreElectionsThanConnections(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t, servers.ConsulSettings(map[string]any{"limits": map[string]any{}})) // with its own limit of 200
	const n, ttls = 400, 2
	holding, waiting := newWire(), newWire()
	a := open(t, connectBy(t, holding, server.Endpoint()), consul.WithTTL(short))
	b := open(t, connectBy(t, waiting, server.Endpoint()), consul.WithTTL(short))
	key := func(i int) string { return fmt.Sprintf("many/%d", i) }
	leases := make([]backend.Lease, n)
	renew := time.NewTicker(short / 3)
	defer renew.Stop()
	const atOnce = n / 4 // and renewed before the next, however long that takes
	for first := 0; first < n; first += atOnce {
		var all sync.WaitGroup
		for i := first; i < first+atOnce; i++ {
			all.Go(func() {
				l, err := a.Campaign(trial.Within(t), key(i), []byte("x"))
				if err != nil {
					t.Errorf("Campaign: %v", err)
					return
				}
				leases[i] = l
			})
		}
		all.Wait()
		if t.Failed() {
			return
		}
		trial.KeepAll(t, leases[:first+atOnce])
	}
	lost := make(chan error, n)
	next := make([]<-chan trial.Outcome, n)
	for i, l := range leases {
		defer l.(backend.LossTeller).TellLoss(t.Context(), func(err error) { lost <- err })()
		next[i] = trial.Campaign(t, t.Context(), b, key(i), "y")
	}
	for range 3 * ttls {
		trial.Receive(t, "the time to renew", renew.C)
		trial.KeepAll(t, leases)
	}
	for i := range next {
		select {
		case o := <-next[i]:
			t.Fatalf("candidate %d: %v", i, o.Err)
		case err := <-lost:
			t.Fatalf("a term: %v", err)
		default:
		}
	}
	for _, i := range []int{0, n / 4, n / 2, n - 1} {
		if err := leases[i].Resign(trial.Within(t)); err != nil {
			t.Fatal(err)
		}
		if o := trial.ReceiveWithin(t, "a handover", next[i], 5*time.Second); o.Err != nil {
			t.Fatal(o.Err)
		}
	}
	for _, w := range []*wire{holding, waiting} {
		if most := w.atOnce(); most > 64+12 {
			t.Errorf("%d requests at once", most)
		}
	}
}

// Who leads and who observes has no goroutine of the store's, however many there are.
func TestTellingTakesNoGoroutines(t *testing.T) {
	server := servers.StartConsul(t)
	const n, queries = 200, 4
	b := open(t, connect(t, server.Endpoint()), consul.WithTTL(long), consul.WithMaxQueries(queries))
	before := runtime.NumGoroutine()
	var seen atomic.Int64
	var stops []func()
	for i := range n {
		l := trial.Win(t, b, fmt.Sprintf("goroutines/%d", i), "x")
		stops = append(stops, l.(backend.LossTeller).TellLoss(t.Context(), func(err error) { t.Errorf("a term: %v", err) }))
		for _, key := range []string{fmt.Sprintf("goroutines/%d", i), fmt.Sprintf("goroutines/free/%d", i)} {
			stops = append(stops, b.TellLeaders(t.Context(), key, func(_ backend.Leader, err error) {
				if err != nil {
					t.Errorf("Observe: %v", err)
				}
				seen.Add(1)
			}))
		}
	}
	servers.Await(t, "all to rest", func(context.Context) error {
		// Each query has its own, and two of net/http's; single requests have a few idle connections; one looks at all others.
		if now := runtime.NumGoroutine() - before; seen.Load() < 2*n || now > 3*queries+2*8+1 {
			return fmt.Errorf("%d of %d seen, and %d goroutines more", seen.Load(), 2*n, now)
		}
		return nil
	})
	for _, stop := range stops {
		stop()
	}
}

// Keys that are held cost their proofs at rest, and nothing each.
func TestHeldKeysAtRest(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := newWire()
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(short))
	const n = 100
	var leases []backend.Lease
	for i := range n {
		l := trial.Win(t, b, fmt.Sprintf("held/%d", i), "x")
		leases = append(leases, l)
		defer l.(backend.LossTeller).TellLoss(t.Context(), func(err error) { t.Errorf("a term: %v", err) })()
	}
	trial.KeepAll(t, leases) // however long it took to win them
	w.block(t, consul.HeldQueries)
	before := w.all.Load()
	renew := time.NewTicker(short / 3)
	defer renew.Stop()
	const times = 4
	for range times {
		trial.Receive(t, "the time to renew", renew.C)
		trial.KeepAll(t, leases)
	}
	if sent := w.all.Load() - before; sent > times*(1+n/64+4) {
		t.Errorf("%d requests for %d renewals of %d terms", sent, times, n)
	}
}

// Held keys have a query each as long as there are enough, and a few if not, until it is half as many; whoever
// waits gets what is left. The loss of the session is told to all at once.
func TestMoreHeldKeysThanQueries(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	w := newWire()
	const queries = 20
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long), consul.WithMaxQueries(queries))
	lost := make(chan error, 2*queries+1)
	var leases []backend.Lease
	var stops []func()
	key := 0
	hold := func(n int) {
		t.Helper()
		for ; len(leases) < n; key++ {
			l := trial.Win(t, b, fmt.Sprintf("crowd/%d", key), "x")
			leases = append(leases, l)
			stops = append(stops, l.(backend.LossTeller).TellLoss(t.Context(), func(err error) { lost <- err }))
		}
		for len(leases) > n {
			stops[0]()
			if err := leases[0].Resign(trial.Within(t)); err != nil {
				t.Fatal(err)
			}
			leases, stops = leases[1:], stops[1:]
		}
	}
	hold(queries)
	w.block(t, queries)
	hold(2 * queries)
	w.block(t, consul.HeldQueries)
	for i := range queries + 1 { // among them all that have a query
		stops[i]()
		stops[i] = func() {}
	}
	w.block(t, consul.HeldQueries)
	hold(queries + 1) // all that had a query have gone
	w.block(t, consul.HeldQueries)
	hold(queries / 2)
	w.block(t, queries/2)
	hold(queries + 1)
	w.block(t, consul.HeldQueries)
	for i := range queries - consul.HeldQueries { // get the others
		trial.Win(t, open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), fmt.Sprintf("crowd/other/%d", i), "x")
		defer b.TellLeaders(t.Context(), fmt.Sprintf("crowd/other/%d", i), func(backend.Leader, error) {})()
	}
	w.block(t, queries)
	destroy(t, operator, holder(t, operator, fmt.Sprintf("crowd/%d", key-1)))
	for range leases {
		trial.MustBe(t, "a term", trial.ReceiveWithin(t, "its loss", lost, 5*time.Second), backend.ErrLost)
	}
	for _, stop := range stops {
		stop()
	}
}

// When many leave one after the other, no connection is made for each that would have been next.
func TestManyWhoLeave(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := newWire()
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long))
	const n = 300
	var stops []func()
	for i := range n {
		stops = append(stops, b.TellLeaders(t.Context(), fmt.Sprintf("leave/%d", i), func(_ backend.Leader, err error) {
			if err != nil {
				t.Errorf("Observe: %v", err)
			}
		}))
	}
	made := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.conns)
	}
	w.block(t, consul.DefaultMaxQueries)
	before, began := made(), time.Now()
	for _, stop := range stops {
		stop()
	}
	looks := 1 + int(time.Since(began)/time.Second) // at all that have no query, each of which gives away those that are free
	if n := made() - before; n > looks*consul.DefaultMaxQueries+16 {
		t.Errorf("%d connections were made, amid at most %d looks", n, looks)
	}
}

// Many who begin to observe at the same time read together, and each is told of its own key.
func TestManyReadTogether(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	leader := open(t, connect(t, server.Endpoint()), consul.WithTTL(long))
	w := newWire()
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long))
	const n = 100
	key := func(i int) string { return fmt.Sprintf("together/read/%d", i) }
	for i := range n {
		if i%2 == 0 {
			trial.Win(t, leader, key(i), key(i))
		}
	}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for l, err := range b.Observe(trial.Within(t), key(i)) {
				if want := key(i); err != nil || l.Vacant() != (i%2 == 1) || !l.Vacant() && string(l.Value) != want {
					t.Errorf("%s: seen %q, error %v", want, l.Value, err)
				}
				break
			}
		})
	}
	all.Wait()
	if sent := w.txns.Load(); sent > n/3 {
		t.Errorf("%d transactions for %d readers", sent, n)
	}
}

// An agent that does not answer is told to all who ask it, in time, however many they are.
func TestManyAskAnAgentThatHangs(t *testing.T) {
	t.Parallel()
	w := newWire()
	w.answer = func(req *http.Request) *http.Response {
		<-req.Context().Done()
		return nil
	}
	b := open(t, connectBy(t, w, "127.0.0.1:1"), consul.WithTTL(short))
	var all sync.WaitGroup
	began := time.Now()
	for i := range 100 {
		all.Go(func() {
			for _, err := range b.Observe(t.Context(), fmt.Sprintf("hangs/%d", i)) {
				trial.MustPass(t, "Observe", err)
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took > short {
		t.Errorf("it took %v", took)
	}
}

// Renewals and proofs have connections of their own: requests that take long, as many as there may be, hold none of them up.
func TestRenewalsWaitForNoTurn(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := newWire()
	var armed atomic.Bool
	var ended atomic.Int64
	hanging := make(chan struct{}, 64)
	w.answer = func(req *http.Request) *http.Response {
		if q := req.URL.Query(); armed.Load() && strings.HasPrefix(req.URL.Path, "/v1/kv/") && !q.Has("index") && !q.Has("keys") {
			hanging <- struct{}{}
			<-req.Context().Done()
			ended.Add(1)
		}
		return nil
	}
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long))
	l := trial.Win(t, b, "turn/held", "x")
	armed.Store(true)
	for i := range consul.MaxTurns {
		trial.Campaign(t, t.Context(), b, fmt.Sprintf("turn/%d", i), "x")
	}
	for range consul.MaxTurns {
		trial.Receive(t, "a request that hangs", hanging)
	}
	if _, err := l.Renew(trial.Within(t)); err != nil || ended.Load() > 0 {
		t.Errorf("Renew: %v, when %d requests had ended", err, ended.Load())
	}
}
