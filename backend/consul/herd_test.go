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

// A handover among many costs few writes: those who come too late see so before they write.
func TestHandoverAmongMany(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	const n, handovers = 40, 40
	w := countWaits()
	type won struct {
		lease    backend.Lease
		at       time.Time
		resigned chan struct{}
	}
	winners := make(chan won, n)
	for range n {
		b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long))
		trial.Beside(t, t.Context(), func(ctx context.Context) error {
			for {
				l, err := b.Campaign(ctx, "many", nil)
				if err != nil {
					return err
				}
				w := won{l, time.Now(), make(chan struct{})}
				winners <- w
				select {
				case <-w.resigned:
				case <-ctx.Done():
					return nil
				}
			}
		})
	}
	leader := trial.Receive(t, "the first win", winners)
	w.waits(t, n-2)
	before := w.txns.Load()
	var total, slowest time.Duration
	for range handovers {
		w.waits(t, 1) // the winner before has queued up again
		began := time.Now()
		if err := leader.lease.Resign(trial.Within(t)); err != nil {
			t.Fatal(err)
		}
		next := trial.Receive(t, "the next win", winners)
		if next.lease.Token() <= leader.lease.Token() {
			t.Errorf("token %d after %d", next.lease.Token(), leader.lease.Token())
		}
		close(leader.resigned) // it queues up again
		leader = next
		took := next.at.Sub(began)
		total, slowest = total+took, max(slowest, took)
	}
	writes := float64(w.txns.Load()-before)/handovers - 2 // without the release and the win
	t.Logf("%d candidates: %.1f writes in vain per handover, which took %v on average and %v at most", n, writes, total/handovers, slowest)
	if writes > 3*n/8 { // a tenth, up to two where the machine is slow to answer, and half if nobody let a while pass
		t.Errorf("%.1f of %d candidates wrote in vain per handover", writes, n)
	}
	if slowest > 5*time.Second {
		t.Errorf("a handover took %v", slowest)
	}
}

// A candidate that has met no other takes a free key with its next request. Once it came too late, it lets a while pass, in
// which it asks for nothing, and looks whether the key stays free before it writes; and its Backend remembers that.
func TestWhoHasMetNobodyWritesAtOnce(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := countWaits()
	looks := countLooks(w)
	leader, rival := open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), open(t, connect(t, server.Endpoint()), consul.WithTTL(long))
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long))
	const key = "alone"
	follow := func(l backend.Lease) (won <-chan trial.Outcome, resign func()) {
		won = trial.Campaign(t, t.Context(), b, key, "y")
		w.waits(t, 1)
		return won, func() {
			if err := l.Resign(trial.Within(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
	takes := func(when string, won <-chan trial.Outcome, resign func()) (looked int64) {
		t.Helper()
		queriesBefore, txnsBefore, looksBefore := w.queries.Load(), w.txns.Load(), looks.Load()
		resign()
		o := trial.Receive(t, when, won)
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		if q, txns := w.queries.Load()-queriesBefore, w.txns.Load()-txnsBefore; q != 0 || txns != 1 {
			t.Errorf("%s: it took %d queries and %d transactions, want none and 1", when, q, txns)
		}
		looked = looks.Load() - looksBefore
		if err := o.Lease.Resign(trial.Within(t)); err != nil {
			t.Fatal(err)
		}
		return looked
	}
	for range 2 {
		won, resign := follow(trial.Win(t, leader, key, "x"))
		if n := takes("alone", won, resign); n != 0 {
			t.Errorf("alone it looked %d times before it wrote", n)
		}
	}
	var theirs backend.Lease
	w.beforeTxn = sync.OnceFunc(func() {
		theirs = trial.Win(t, rival, key, "z")
		<-time.After(100 * time.Millisecond) // so that the window is long, and its very beginning is hardly ever picked
	})
	won, resign := follow(trial.Win(t, leader, key, "x"))
	resign()
	w.waits(t, 1) // behind the rival, who was faster
	looked := takes("after it came too late", won, func() {
		if err := theirs.Resign(trial.Within(t)); err != nil {
			t.Fatal(err)
		}
	})
	won, resign = follow(trial.Win(t, leader, key, "x"))
	looked += takes("in its next candidacy", won, resign)
	// Once in each. A look that takes long makes the window longer, and is followed by another if by more than half: at
	// most three times, from a fourth of the longest.
	if looked < 1 || looked > 5 {
		t.Errorf("it looked %d times before it wrote in two candidacies, want once in each", looked)
	}
}

// countLooks counts the reads of keys that do not block.
func countLooks(w *wire) *atomic.Int64 {
	looks := new(atomic.Int64)
	w.answer = func(req *http.Request) *http.Response {
		if strings.HasPrefix(req.URL.Path, "/v1/kv/") && req.URL.Query().Get("index") == "" {
			looks.Add(1)
		}
		return nil
	}
	return looks
}

// A candidate that sees the key in other hands, and did not see it free between, has met others too.
func TestWhoMissedTheFreeKeyHasMetOthers(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	leader, rival := open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), open(t, connect(t, server.Endpoint()), consul.WithTTL(long))
	const tries = 12 // one in eight picks the very beginning of its window, and does not look
	for i := range tries {
		if n, _ := looksAfterMissing(t, server.Endpoint(), fmt.Sprintf("missed/%d", i), leader, rival, 0); n > 0 {
			return
		}
	}
	t.Errorf("it did not look before it wrote, in %d tries", tries)
}

// A look that takes long says that many want something of Consul: so a candidate with a short window picks once more, in a longer one, and
// remembers a longer one.
func TestWhoSeesThatConsulIsBusyLooksAgain(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	leader, rival := open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), open(t, connect(t, server.Endpoint()), consul.WithTTL(long))
	const tries = 12
	for i := range tries {
		n, window := looksAfterMissing(t, server.Endpoint(), fmt.Sprintf("busy/%d", i), leader, rival, 60*time.Millisecond)
		if n < 2 {
			continue // it picked the very beginning, before or after that
		}
		if window < 16*time.Millisecond { // twice the first, and more if the next look took long too
			t.Errorf("its window is %v", window)
		}
		return
	}
	t.Errorf("it did not look again before it wrote, in %d tries", tries)
}

// looksAfterMissing returns how often a candidate looks before it writes that has missed that the key was free before, and the
// window that it remembers. Its first look takes long.
func looksAfterMissing(t *testing.T, addr, key string, leader, rival backend.Backend, slow time.Duration) (n int64, window time.Duration) {
	t.Helper()
	w := countWaits()
	looks, held := countLooks(w), make(chan struct{})
	var first sync.Once
	count := w.answer
	w.answer = func(req *http.Request) *http.Response {
		if strings.HasPrefix(req.URL.Path, "/v1/kv/") && req.URL.Query().Get("index") != "" {
			<-held
		}
		resp := count(req)
		select {
		case <-held: // it is no look before all that
			if looks.Load() > 1 {
				first.Do(func() { <-time.After(slow) })
			}
		default:
		}
		return resp
	}
	l := trial.Win(t, leader, key, "x")
	b := open(t, connectBy(t, w, addr), consul.WithTTL(long))
	next := trial.Campaign(t, t.Context(), b, key, "y")
	w.waits(t, 1)
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	l = trial.Win(t, rival, key, "z")
	close(held)
	w.waits(t, 1) // behind the rival
	before := looks.Load()
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	if o := trial.Receive(t, "the win", next); o.Err != nil {
		t.Fatal(o.Err)
	}
	return looks.Load() - before, b.WindowOf(key)
}
