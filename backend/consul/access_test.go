package consul_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/consul"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
	"github.com/hustings-go/hustings/retry"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	client := connect(t, "127.0.0.1:1")
	for _, tc := range []struct {
		client     *api.Client
		ttl, delay time.Duration
		want       string // in the message; empty: taken
	}{
		{client, 10 * time.Second, 0, ""},
		{client, 24 * time.Hour, time.Minute, ""},
		{client, 10500 * time.Millisecond, time.Millisecond, ""},
		{nil, long, 0, "client is nil"},
		{client, 0, 0, "0s, which is not positive"},
		{client, -5 * time.Second, 0, "-5s, which is not positive"},
		{client, 9999 * time.Millisecond, 0, "9.999s, which is too short; Consul takes TTLs from 10s to 24h"},
		{client, 24*time.Hour + 1, 0, "24h0m0.000000001s, which is too long"},
		{client, long, -time.Second, "lock-delay is -1s"},
		{client, long, 61 * time.Second, "lock-delay is 1m1s; Consul takes whole milliseconds from 0s to 1m0s"},
		{client, long, time.Microsecond, "lock-delay is 1µs"},
	} {
		b, err := consul.New(tc.client, consul.WithTTL(tc.ttl), consul.WithName("n"), consul.WithLockDelay(tc.delay), consul.Option{})
		if tc.want == "" {
			if err != nil || b.TTL() != tc.ttl {
				t.Errorf("TTL %v: %v, want it taken", tc.ttl, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) || !retry.IsPermanent(err) {
			t.Errorf("TTL %v, lock-delay %v: %v, want a permanent error with %q", tc.ttl, tc.delay, err, tc.want)
		}
	}
	for _, n := range []int{0, -1} {
		if _, err := consul.New(client, consul.WithMaxQueries(n)); !retry.IsPermanent(err) || !strings.Contains(err.Error(), fmt.Sprintf("at most %d queries may block; at least 1 is needed", n)) {
			t.Errorf("%d queries: %v, want a permanent error with what is allowed", n, err)
		}
	}
	if b, err := consul.New(client); err != nil || b.TTL() != consul.DefaultTTL {
		t.Errorf("with no options: %v", err)
	}
}

// What the session is made with is what was asked for, and the defaults that are documented.
func TestSessionIsMadeAsAskedFor(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	for _, tc := range []struct {
		opts  []consul.Option
		name  string
		ttl   string
		delay time.Duration
	}{
		{nil, "hustings", "15s", 750 * time.Millisecond},
		{[]consul.Option{consul.WithTTL(time.Hour), consul.WithName("node-7")}, "node-7", "1h0m0s", time.Second},
		{[]consul.Option{consul.WithLockDelay(0)}, "hustings", "15s", 0},
		{[]consul.Option{consul.WithLockDelay(time.Minute)}, "hustings", "15s", time.Minute},
	} {
		l := trial.Win(t, open(t, connect(t, server.Endpoint()), tc.opts...), "made", "x")
		id := holder(t, operator, "made")
		for _, s := range sessions(t, operator) {
			if s.ID == id && (s.Name != tc.name || s.TTL != tc.ttl || s.LockDelay != tc.delay || s.Behavior != "delete" || len(s.NodeChecks)+len(s.ServiceChecks) != 0) {
				t.Errorf("the session is %+v, want %+v, deleting and without checks", s, tc)
			}
		}
		if err := l.Resign(trial.Within(t)); err != nil {
			t.Error(err)
		}
	}
}

// An address where nobody listens turns into a passing error, for every call, and one that swallows all
// that is sent does so within the bound of a request.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	proxy := servers.StartProxy(t, servers.StartConsul(t).Endpoint())
	proxy.Cut()
	for addr, want := range map[string]string{"127.0.0.1:1": "connection refused", proxy.Addr(): "no answer from Consul within 4s"} {
		b := open(t, connect(t, addr), consul.WithTTL(12*time.Second), consul.WithName("node-7"))
		began := time.Now()
		_, err := b.Campaign(trial.Within(t), "unreachable", nil)
		trial.MustPass(t, "Campaign", err)
		if err == nil || !strings.HasPrefix(err.Error(), `consul (node-7): campaign "unreachable": `) || !strings.Contains(err.Error(), want) {
			t.Errorf("Campaign: %v, want %q", err, want)
		}
		for _, err := range b.Observe(trial.Within(t), "unreachable") {
			trial.MustPass(t, "Observe", err)
			break
		}
		if took := time.Since(began); took > 25*time.Second {
			t.Errorf("it took %v", took)
		}
	}
}

func TestRights(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t, servers.ConsulACLs())
	operator := connect(t, server.Endpoint(), withToken(server.Token()))
	policy := func(name, rules string) {
		t.Helper()
		if _, _, err := operator.ACL().PolicyCreate(&api.ACLPolicy{Name: name, Rules: rules}, nil); err != nil {
			t.Fatal(err)
		}
	}
	token := func(policies ...string) *api.ACLToken {
		t.Helper()
		var links []*api.ACLTokenPolicyLink
		for _, name := range policies {
			links = append(links, &api.ACLTokenPolicyLink{Name: name})
		}
		made, _, err := operator.ACL().TokenCreate(&api.ACLToken{Policies: links}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	policy("candidate", `
		key "rights/mine"      { policy = "write" }
		key "rights/mine~term" { policy = "write" }
		session "consul0"      { policy = "write" }`)
	policy("observer", `
		key "rights/mine"      { policy = "read" }
		key "rights/mine~term" { policy = "read" }`)
	policy("half-blind", `key "rights/mine" { policy = "read" }`)
	mayStand, mayWatch, mayWatchHalf := token("candidate"), token("observer"), token("half-blind")
	as := func(secret string) *consul.Backend {
		return open(t, connect(t, server.Endpoint(), withToken(secret)), consul.WithTTL(long))
	}
	candidate, observer := as(mayStand.SecretID), as(mayWatch.SecretID)

	// The documented rights are enough, for all that there is to do.
	l := trial.Win(t, candidate, "rights/mine", "x")
	if err := l.Proclaim(trial.Within(t), []byte("y")); err != nil {
		t.Error(err)
	}
	if _, err := l.Renew(trial.Within(t)); err != nil {
		t.Error(err)
	}
	for leader, err := range observer.Observe(trial.Within(t), "rights/mine") {
		if err != nil || string(leader.Value) != "y" || leader.Token != l.Token() {
			t.Errorf("an observer sees %q with token %d, error %v", leader.Value, leader.Token, err)
		}
		break
	}

	denied := func(what string, err error) {
		t.Helper()
		trial.MustBe(t, what, err, backend.ErrDenied)
		if retry.IsPermanent(err) {
			t.Errorf("%s: %v is permanent, though rights can be granted", what, err)
		}
		for _, secret := range []string{server.Token(), mayStand.SecretID, mayWatch.SecretID, mayWatchHalf.SecretID, unknown} {
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the message holds a token: %v", what, err)
			}
		}
	}
	deniedObserving := func(what string, b *consul.Backend, key string) {
		t.Helper()
		for _, err := range b.Observe(trial.Within(t), key) {
			denied(what, err)
			break
		}
	}
	_, err := candidate.Campaign(trial.Within(t), "rights/theirs", nil)
	denied("Campaign for another's key", err)
	_, err = observer.Campaign(trial.Within(t), "rights/mine", nil)
	denied("an observer's Campaign", err)
	deniedObserving("Observe of another's key", observer, "rights/theirs")
	deniedObserving("Observe without a right to the sibling", as(mayWatchHalf.SecretID), "rights/mine")
	deniedObserving("Observe without a token", as(""), "rights/mine")
	deniedObserving("Observe with a token that nobody knows", as(unknown), "rights/mine")
	_, err = as(unknown).Campaign(trial.Within(t), "rights/mine", nil)
	denied("Campaign with a token that nobody knows", err)
	_, err = as("").Campaign(trial.Within(t), "rights/mine", nil)
	denied("Campaign without a token", err)

	// Rights that are taken away while somebody leads, and given back.
	change := func(policies ...*api.ACLTokenPolicyLink) {
		t.Helper()
		mayStand.Policies = policies
		if _, _, err := operator.ACL().TokenUpdate(mayStand, nil); err != nil {
			t.Fatal(err)
		}
	}
	change()
	_, err = l.Renew(trial.Within(t))
	denied("Renew without rights", err)
	denied("Proclaim without rights", l.Proclaim(trial.Within(t), nil))
	denied("Resign without rights", l.Resign(trial.Within(t)))
	change(&api.ACLTokenPolicyLink{Name: "candidate"})
	if next := trial.Win(t, candidate, "rights/mine", "z"); next.Token() <= l.Token() {
		t.Errorf("token %d after %d", next.Token(), l.Token())
	}
}

const unknown = "7f1b0f2e-9a0c-4c1d-8e57-5d1c7f3f2b11"

func TestValueSize(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := newWire()
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long))
	// The longest key makes the longest transaction.
	key := strings.Repeat("k", backend.MaxKeyLen)
	l := trial.Win(t, b, key, strings.Repeat("\xff", consul.MaxValueLen))
	if err := l.Proclaim(trial.Within(t), bytes.Repeat([]byte{'x'}, consul.MaxValueLen)); err != nil {
		t.Error(err)
	}
	before := w.all.Load()
	big := make([]byte, consul.MaxValueLen+1)
	_, err := b.Campaign(trial.Within(t), "size", big)
	for _, err := range []error{err, l.Proclaim(trial.Within(t), big)} {
		if !retry.IsPermanent(err) || !strings.Contains(err.Error(), "389121") || !strings.Contains(err.Error(), "389120") {
			t.Errorf("%v, want a permanent error with both numbers", err)
		}
	}
	if got := w.all.Load() - before; got != 0 {
		t.Errorf("%d requests for what is refused at once", got)
	}
}

// A server whose operator has set bounds of his own refuses with its numbers, for good.
func TestServersOwnBounds(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t, servers.ConsulSettings(map[string]any{
		"session_ttl_min": "20s",
		"limits":          map[string]any{"kv_max_value_size": 2048, "txn_max_req_len": 2048},
	}))
	refused := func(what string, err error, want string) {
		t.Helper()
		if !retry.IsPermanent(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want a permanent error with %q", what, err, want)
		}
	}
	_, err := open(t, connect(t, server.Endpoint())).Campaign(trial.Within(t), "bounds", nil)
	refused("a TTL of 15s", err, "must be between [20s=24h0m0s]")
	b := open(t, connect(t, server.Endpoint()), consul.WithTTL(20*time.Second))
	_, err = b.Campaign(trial.Within(t), "bounds", make([]byte, 4096))
	refused("a value of 4096 bytes", err, "max size: 2048 bytes")
	refused("a value of 4096 bytes", trial.Win(t, b, "bounds", "x").Proclaim(trial.Within(t), make([]byte, 4096)), "max size: 2048 bytes")
}

// A key that holds something else is left alone, whatever it holds.
func TestKeyInUseBySomethingElse(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	b := open(t, connect(t, server.Endpoint()), consul.WithTTL(long))
	for _, flags := range []uint64{0, api.SemaphoreFlagValue} {
		if _, err := operator.KV().Put(&api.KVPair{Key: "used", Value: []byte("precious"), Flags: flags}, nil); err != nil {
			t.Fatal(err)
		}
		_, err := b.Campaign(trial.Within(t), "used", []byte("x"))
		if !retry.IsPermanent(err) || !strings.Contains(err.Error(), "holds data") {
			t.Errorf("Campaign: %v, want a permanent error that says why", err)
		}
		if pair := entry(t, operator, "used"); string(pair.Value) != "precious" || pair.Flags != flags {
			t.Errorf("the key became %+v", pair)
		}
	}
}

// A server that was replaced by one with another past counts anew, and whoever would wait for the old count to
// be passed might wait for ever. There is none here, so its answers are made up.
func TestIndexThatGoesBackIsForgotten(t *testing.T) {
	t.Parallel()
	var asked []string
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := newWire()
	w.answer = func(req *http.Request) *http.Response {
		if req.Body != nil {
			req.Body.Close()
		}
		answer := func(status int, index, text string) *http.Response {
			header := http.Header{"Content-Type": {"application/json"}, "X-Consul-Index": {index}, "X-Consul-Lastcontact": {"0"}}
			return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(text)), Request: req}
		}
		if req.URL.Path == "/v1/txn" {
			return answer(http.StatusOK, "0", `{"Results":[{"KV":{"Key":"back"}},{"KV":{"Key":"back~term"}}],"Errors":null}`)
		}
		asked = append(asked, req.URL.Query().Get("index"))
		switch len(asked) {
		case 1:
			return answer(http.StatusNotFound, "1000", "")
		case 2:
			return answer(http.StatusNotFound, "5", "")
		default:
			cancel()
			return answer(http.StatusNotFound, "6", "")
		}
	}
	for _, err := range open(t, connectBy(t, w, "127.0.0.1:1")).Observe(ctx, "back") {
		if err != nil {
			t.Error(err)
		}
	}
	if want := []string{"", "1000", ""}; !slices.Equal(asked[:min(3, len(asked))], want) {
		t.Errorf("asked from the indexes %q, want %q first", asked, want)
	}
}

// A server that does not know what is needed is called too old. There is none here, so its answer is made up.
func TestServerTooOld(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := newWire()
	w.answer = func(req *http.Request) *http.Response {
		if req.URL.Path != "/v1/txn" {
			return nil
		}
		req.Body.Close()
		text := `{"Results":null,"Errors":[{"OpIndex":0,"What":"unknown KV verb \"get-or-empty\""}]}`
		return &http.Response{StatusCode: http.StatusConflict, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(text)), Request: req}
	}
	for _, err := range open(t, connectBy(t, w, server.Endpoint())).Observe(trial.Within(t), "old") {
		if !retry.IsPermanent(err) || !strings.Contains(err.Error(), "1.14 or later") {
			t.Errorf("Observe: %v, want a permanent error with the version", err)
		}
		break
	}
}

func TestCancelledBeforeItStarts(t *testing.T) {
	t.Parallel()
	w := newWire()
	b := open(t, connectBy(t, w, "127.0.0.1:1"), consul.WithTTL(long))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Campaign(ctx, "cancelled", nil)
	if !errors.Is(err, context.Canceled) || w.all.Load() != 0 {
		t.Errorf("%v after %d requests", err, w.all.Load())
	}
}
