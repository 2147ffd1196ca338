package consul_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
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

// Keys for which there is no query are looked at all the same, and the one that waits longest gets the next.
func TestKeysBeyondTheBound(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	leader := open(t, connect(t, server.Endpoint()), consul.WithTTL(long))
	w := newWire()
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long), consul.WithMaxQueries(2))
	key := func(i int) string { return fmt.Sprintf("beyond/%d", i) }
	var next []<-chan trial.Outcome
	var leases []backend.Lease
	for i := range 4 {
		leases = append(leases, trial.Win(t, leader, key(i), "x"))
		next = append(next, trial.Campaign(t, t.Context(), b, key(i), "y"))
		if i < 2 {
			w.asks(t, []string{key(0), key(1)}[:i+1]...)
		}
	}
	free := observe(t, b, key(4))
	free.until(t, "")
	seen := observe(t, b, key(3))
	seen.until(t, "x")
	hands := func(i int) {
		t.Helper()
		if err := leases[i].Resign(trial.Within(t)); err != nil {
			t.Fatal(err)
		}
		if o := trial.ReceiveWithin(t, "the win of "+key(i), next[i], 5*time.Second); o.Err != nil {
			t.Fatal(o.Err)
		}
	}
	hands(3) // which has no query
	seen.until(t, "y")
	late := trial.Win(t, leader, key(4), "z") // nor has this
	free.until(t, "z")
	if err := late.Proclaim(trial.Within(t), []byte("zz")); err != nil {
		t.Fatal(err)
	}
	free.until(t, "zz")
	if err := late.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	free.until(t, "")
	w.asks(t, key(0), key(1))
	hands(0)
	w.asks(t, key(1), key(2)) // it has waited for longer than the others
	hands(2)
	w.asks(t, key(1), key(4))
}

// Who comes while the looks for those who have left end is looked at too.
func TestLooksGoOnForWhoComes(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := newWire()
	var armed atomic.Bool
	ending, end := make(chan struct{}), make(chan struct{})
	w.answer = func(req *http.Request) *http.Response {
		if text := transaction(req); text != "" && !strings.Contains(text, "~term") && armed.Swap(false) { // a look at all
			<-req.Context().Done()
			close(ending)
			<-end
		}
		return nil
	}
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long), consul.WithMaxQueries(1))
	told := make(chan string, 64)
	tell := func(key string) (stop func()) {
		return b.TellLeaders(t.Context(), key, func(l backend.Leader, err error) {
			if err != nil {
				t.Errorf("Observe: %v", err)
			}
			told <- key + string(l.Value)
		})
	}
	hears := func(want ...string) {
		t.Helper()
		for len(want) > 0 {
			got := trial.ReceiveWithin(t, want[0], told, 5*time.Second)
			want = slices.DeleteFunc(want, func(w string) bool { return w == got })
		}
	}
	one, two := tell("comes/1"), tell("comes/2")
	hears("comes/1", "comes/2")
	armed.Store(true)
	servers.Await(t, "a look at all", func(context.Context) error {
		if armed.Load() {
			return errors.New("there was none")
		}
		return nil
	})
	var leaving sync.WaitGroup
	leaving.Go(one)
	leaving.Go(two)
	trial.Receive(t, "the end of the looks", ending)
	defer tell("comes/3")()
	hears("comes/3")
	w.asks(t, "comes/3")
	defer tell("comes/4")()
	hears("comes/4")
	<-time.After(100 * time.Millisecond) // for it to wait in line; a test that goes on sooner sees less, and does not fail
	close(end)
	leaving.Wait()
	trial.Win(t, open(t, connect(t, server.Endpoint()), consul.WithTTL(long)), "comes/4", " is held")
	hears("comes/4 is held")
}

// One look that fails is made up for by the next. If all do, those who wait are told.
func TestLooksThatFail(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := newWire()
	var failing, failed atomic.Int64
	w.answer = func(req *http.Request) *http.Response {
		if req.URL.Path != "/v1/txn" || failing.Load() <= 0 {
			return nil
		}
		failing.Add(-1)
		failed.Add(1)
		return &http.Response{StatusCode: http.StatusInternalServerError, Body: io.NopCloser(strings.NewReader("no luck")), Header: http.Header{}}
	}
	leader := open(t, connect(t, server.Endpoint()), consul.WithTTL(long))
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(short), consul.WithMaxQueries(1))
	trial.Win(t, leader, "fails/1", "x")
	l := trial.Win(t, leader, "fails/2", "x")
	observe(t, b, "fails/1").until(t, "x")
	w.asks(t, "fails/1")
	two := make(observed, 64)
	end := trial.Beside(t, t.Context(), func(ctx context.Context) error {
		for l, err := range b.Observe(ctx, "fails/2") {
			if err != nil {
				return err
			}
			two <- l
		}
		return nil
	})
	two.until(t, "x")
	failing.Store(1)
	servers.Await(t, "a look to fail", func(context.Context) error {
		if failed.Load() == 0 {
			return errors.New("none did")
		}
		return nil
	})
	if err := l.Proclaim(trial.Within(t), []byte("y")); err != nil {
		t.Fatal(err)
	}
	two.until(t, "y")
	failing.Store(1 << 30)
	trial.MustPass(t, "Observe", trial.ReceiveWithin(t, "its end", end, short))
	if n := failed.Load(); n < 3 {
		t.Errorf("it ended after %d looks that failed", n-1)
	}
}

// What one may not read is nothing to the others; and all are told when there is nobody to ask.
func TestLooksAtWhatMayNotBeRead(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t, servers.ConsulACLs())
	operator := connect(t, server.Endpoint(), withToken(server.Token()))
	policy, _, err := operator.ACL().PolicyCreate(&api.ACLPolicy{Name: "looks", Rules: `key_prefix "looks/" { policy = "read" }`}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := operator.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{ID: policy.ID}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	leader := open(t, operator, consul.WithTTL(long))
	proxy := servers.StartProxy(t, server.Endpoint())
	b := open(t, connectBy(t, newWire(), proxy.Addr(), withToken(token.SecretID)), consul.WithTTL(short), consul.WithMaxQueries(1))
	key := func(i int) string { return fmt.Sprintf("looks/%d", i) }
	const n = 5
	var ends [n]<-chan error
	var mu sync.Mutex
	var leaders [n]string
	for i := range n {
		trial.Win(t, leader, key(i), "x")
		ends[i] = trial.Beside(t, t.Context(), func(ctx context.Context) error {
			for l, err := range b.Observe(ctx, key(i)) {
				if err != nil {
					return err
				}
				mu.Lock()
				leaders[i] = string(l.Value)
				mu.Unlock()
			}
			return nil
		})
	}
	follow := func(value string, but int) {
		t.Helper()
		servers.Await(t, "all to see "+value, func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			for i, l := range leaders {
				if i != but && l != value {
					return fmt.Errorf("of key %d %q is seen", i, l)
				}
			}
			return nil
		})
	}
	follow("x", -1)
	policy.Rules += ` key "looks/3" { policy = "deny" }`
	if _, _, err := operator.ACL().PolicyUpdate(policy, nil); err != nil {
		t.Fatal(err)
	}
	trial.MustBe(t, "Observe of what may not be read any more", trial.Receive(t, "its end", ends[3]), backend.ErrDenied)
	for i := range n {
		if _, err := operator.KV().Put(&api.KVPair{Key: key(i), Value: []byte("y"), Flags: api.LockFlagValue}, nil); err != nil {
			t.Fatal(err)
		}
	}
	follow("y", 3)
	proxy.Refuse()
	began := time.Now()
	for i := range n {
		if i == 3 {
			continue
		}
		trial.MustPass(t, "Observe", trial.Receive(t, "its end", ends[i]))
	}
	if took := time.Since(began); took > short {
		t.Errorf("it took %v to notice", took)
	}
}
