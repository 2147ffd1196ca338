//go:build unix

package linear

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/internal/faults"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
	"github.com/hustings-go/hustings/torture/stores"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(trial.Outlast{M: m}) }

const (
	sessions = 6 // each a client of every key, and half of them observers too
	keys     = 2 // at a time
)

// roundTime is long enough for leases to end by themselves, and for as many calls on one store as on another.
func roundTime(store stores.Store) time.Duration { return max(3*store.TTL, store.Expiry+store.TTL) }

// TestAdapterIsLinearizable has sessions campaign for a few keys by way of proxies that delay, cut and heal, and
// checks the history of each key. A key lives for a round, so that no history grows too long to be checked. Only a
// store that keeps what it acknowledged can pass.
func TestAdapterIsLinearizable(t *testing.T) {
	asked, err := stores.Asked(env("STORE", ""))
	if err != nil {
		t.Fatal(err)
	}
	if len(asked) == 1 && asked[0].Forgets {
		t.Fatalf("%s forgets what it acknowledged, and so cannot be linearizable", asked[0].Name)
	}
	seed, err := strconv.ParseUint(env("SEED", strconv.FormatInt(time.Now().UnixNano()%1e6, 10)), 10, 64)
	if err != nil {
		t.Fatalf("SEED: %v", err)
	}
	minutes, err := strconv.ParseFloat(env("MINUTES", "0"), 64)
	if err != nil {
		t.Fatalf("MINUTES: %v", err)
	}
	t.Logf("seed %d", seed)
	for _, store := range asked {
		if !store.Forgets {
			t.Run(store.Name, func(t *testing.T) { linear(t, store, seed, time.Duration(minutes*float64(time.Minute))) })
		}
	}
}

func linear(t *testing.T, store stores.Store, seed uint64, long time.Duration) {
	w := &workload{store: store, random: rand.New(rand.NewPCG(seed, 0)), server: store.Start(t, 1).Members()[0]}
	for range sessions {
		w.open(t)
	}
	const most = 5 // rounds of a short run
	var sum tally
	for end := time.Now().Add(long); sum.void() && sum.rounds < most || time.Now().Before(end); {
		w.round(t, &sum)
	}
	t.Logf("%s: %d rounds, %d histories: %v; %d calls, of which %d of unknown outcome; %d terms, of which %d ended by themselves; the longest history has %d calls; the longest check took %v",
		store.Name, sum.rounds, sum.rounds*keys, sum.results, sum.calls, sum.failed, sum.terms, sum.expired, sum.longest, sum.slowest.Round(time.Millisecond))
	if sum.void() {
		t.Error("void: there were hardly any terms, or no call failed")
	}
}

func env(name, otherwise string) string {
	if v := os.Getenv("HUSTINGS_TORTURE_" + name); v != "" {
		return v
	}
	return otherwise
}

// tally is what all rounds together showed.
type tally struct {
	rounds, calls, failed, terms, expired, longest int

	slowest time.Duration
	results map[porcupine.CheckResult]int
}

// void reports whether nothing was shown: there were hardly any terms, or no call failed.
func (s *tally) void() bool { return s.rounds == 0 || s.terms < s.rounds*keys || s.failed == 0 }

// workload is the sessions and what is between them and the store.
type workload struct {
	store    stores.Store
	random   *rand.Rand // the test's own goroutine's
	server   faults.Server
	links    []*servers.Proxy
	backends []backend.Backend
	rounds   int
}

func (w *workload) open(t *testing.T) {
	t.Helper()
	link := servers.StartProxy(t, w.server.Endpoint())
	b, done, err := w.store.Open(context.WithoutCancel(t.Context()), stores.Straight([]string{link.Addr()}), w.store.TTL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.Close()
		done()
	})
	w.links = append(w.links, link)
	w.backends = append(w.backends, b)
}

// round plays one round and checks its histories.
func (w *workload) round(t *testing.T, sum *tally) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), roundTime(w.store))
	defer cancel()
	w.rounds++
	histories := make([]recorder, keys)
	var stood []*client
	var clients sync.WaitGroup
	for k := range histories {
		for s, b := range w.backends {
			key := fmt.Sprintf("linear/%d/%d", w.rounds, k)
			stands := w.client(s, b, key, &histories[k])
			stood = append(stood, stands)
			clients.Go(func() { stands.stand(ctx) })
			if s%2 == 0 {
				looks := w.client(sessions+s, b, key, &histories[k])
				clients.Go(func() { looks.look(ctx) })
			}
		}
	}
	w.harm(ctx)
	clients.Wait()
	for _, c := range stood {
		c.tidy(t)
	}
	sum.rounds++
	for k := range histories {
		w.check(t, &histories[k], sum)
	}
}

func (w *workload) client(id int, b backend.Backend, key string, history *recorder) *client {
	return &client{id: id, backend: b, key: key, history: history, ttl: w.store.TTL, random: rand.New(rand.NewPCG(w.random.Uint64(), 0))}
}

// harm breaks links and stops the server, each for a while, until ctx ends. Some links stay broken for longer than
// the TTL, so that leases end by themselves; at most half of them are broken at a time, or there is little to check.
func (w *workload) harm(ctx context.Context) {
	mended := make(map[*servers.Proxy]time.Time)
	for ctx.Err() == nil {
		rest(ctx, between(w.random, w.store.TTL/100, w.store.TTL/8))
		for link, due := range mended {
			if time.Now().After(due) {
				link.Heal()
				delete(mended, link)
			}
		}
		link := w.links[w.random.IntN(len(w.links))]
		if _, broken := mended[link]; broken || len(mended) >= len(w.links)/2 {
			continue
		}
		lasts := between(w.random, w.store.TTL/40, w.store.TTL/3)
		if w.random.IntN(3) == 0 {
			lasts = between(w.random, w.store.TTL, 2*w.store.TTL)
		}
		mended[link] = time.Now().Add(lasts)
		w.strike(ctx, link)
	}
	for link := range mended {
		link.Heal()
	}
}

func (w *workload) strike(ctx context.Context, link *servers.Proxy) {
	switch w.random.IntN(12) {
	case 0, 1, 2:
		link.Cut()
	case 3, 4:
		link.CutUp()
	case 5, 6, 7:
		link.CutDown()
	case 8:
		link.Refuse()
	case 9:
		w.server.Pause()
		rest(ctx, between(w.random, w.store.TTL/200, w.store.TTL/3))
		w.server.Resume()
	default:
		link.Delay(between(w.random, time.Millisecond, w.store.TTL/6))
	}
}

// check looks for an order of the calls. Where it runs out of time, nothing is known, and that is no success.
func (w *workload) check(t *testing.T, r *recorder, sum *tally) {
	t.Helper()
	began := time.Now()
	result, info := porcupine.CheckOperationsVerbose(model(), operations(r.calls), time.Minute)
	sum.slowest = max(sum.slowest, time.Since(began))
	sum.longest = max(sum.longest, len(r.calls))
	sum.calls += len(r.calls)
	for _, c := range r.calls {
		if c.failed {
			sum.failed++
		} else if c.op.kind == campaign {
			sum.terms++
		}
	}
	sum.expired += expired(r.calls)
	if sum.results == nil {
		sum.results = make(map[porcupine.CheckResult]int)
	}
	sum.results[result]++
	if result == porcupine.Ok {
		return
	}
	dir, err := keep(info)
	t.Errorf("round %d: %s; the history is kept in %s (%v)", sum.rounds, result, dir, err)
}

// keep draws a history in a folder that outlives the test.
func keep(info porcupine.LinearizationInfo) (string, error) {
	dir, err := os.MkdirTemp("", "hustings-linear-")
	if err != nil {
		return "", err
	}
	return dir, porcupine.VisualizePath(model(), info, filepath.Join(dir, "history.html"))
}
