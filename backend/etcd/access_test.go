package etcd_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
	"github.com/hustings-go/hustings/retry"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	client := connect(t, []string{"127.0.0.1:1"})
	for _, tc := range []struct {
		client *clientv3.Client
		ttl    time.Duration
		want   string // in the message; empty: taken
	}{
		{client, time.Second, ""},
		{client, 24 * time.Hour, ""},
		{nil, time.Second, "client is nil"},
		{client, 0, "0s, which is not positive"},
		{client, -5 * time.Second, "-5s, which is not positive"},
		{client, 500 * time.Millisecond, "500ms, and etcd counts whole seconds"},
		{client, 1900 * time.Millisecond, "1.9s, and etcd counts whole seconds"},
		{client, 24*time.Hour + time.Second, "24h0m1s, which is too long"},
		{client, 9_000_000_001 * time.Second, "at most 9000000000 s"},
	} {
		b, err := etcd.New(tc.client, etcd.WithTTL(tc.ttl), etcd.WithName("n"), etcd.Option{})
		if tc.want == "" {
			if err != nil || b.TTL() != tc.ttl {
				t.Errorf("TTL %v: %v, want it taken", tc.ttl, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) || !retry.IsPermanent(err) {
			t.Errorf("TTL %v: %v, want a permanent error with %q", tc.ttl, err, tc.want)
		}
	}
	if b, err := etcd.New(client); err != nil || b.TTL() != etcd.DefaultTTL {
		t.Errorf("with no options: %v", err)
	}
}

// etcd raises a TTL that is too short for it, and the grant says so.
func TestGrantTellsWhatWasGranted(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	b := open(t, connect(t, []string{server.Endpoint()}), etcd.WithTTL(time.Second))
	if g := trial.Win(t, b, "grant", "x").Grant(); g.TTL != 2*time.Second {
		t.Errorf("granted %v, want the 2s that etcd has as its minimum", g.TTL)
	}
}

// An endpoint where nobody listens turns into a passing error within the bound of a request, for every
// call, and nothing is left running.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	b := open(t, connect(t, []string{"127.0.0.1:1"}), etcd.WithTTL(3*time.Second), etcd.WithName("node-7"))
	began := time.Now()
	_, err := b.Campaign(trial.Within(t), "unreachable", nil)
	trial.MustPass(t, "Campaign", err)
	if err == nil || !strings.HasPrefix(err.Error(), `etcd (node-7): campaign "unreachable": etcd did not answer within 1s`) {
		t.Errorf("Campaign: %v", err)
	}
	for _, err := range b.Observe(trial.Within(t), "unreachable") {
		trial.MustPass(t, "Observe", err)
	}
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestClosedClient(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	client := connect(t, []string{server.Endpoint()})
	b := open(t, client, etcd.WithTTL(long))
	l := trial.Win(t, b, "gone", "x")
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	_, campaigned := b.Campaign(trial.Within(t), "gone/2", nil)
	_, renewed := l.Renew(trial.Within(t))
	for _, err := range []error{campaigned, renewed} {
		if !retry.IsPermanent(err) || !strings.Contains(err.Error(), "client was closed") {
			t.Errorf("%v, want a permanent error that says that the client was closed", err)
		}
	}
}

func TestRights(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	server.Ctl("role", "add", "candidate")
	server.Ctl("role", "grant-permission", "candidate", "readwrite", "--prefix=true", "rights/mine/")
	server.Ctl("role", "add", "observer")
	server.Ctl("role", "grant-permission", "observer", "read", "--prefix=true", "rights/mine/")
	for _, user := range []string{"candidate", "observer"} {
		server.Ctl("user", "add", user+":s3cret-"+user)
		server.Ctl("user", "grant-role", user, user)
	}
	server.EnableAuth("s3cret-root")
	as := func(user, password string) *etcd.Backend {
		return open(t, connect(t, []string{server.Endpoint()}, func(c *clientv3.Config) { c.Username, c.Password = user, password }), etcd.WithTTL(long))
	}
	candidate, observer := as("candidate", "s3cret-candidate"), as("observer", "s3cret-observer")

	// The documented rights are enough, for all that there is to do.
	l := trial.Win(t, candidate, "rights/mine", "x")
	if err := l.Proclaim(trial.Within(t), []byte("y")); err != nil {
		t.Error(err)
	}
	if _, err := l.Renew(trial.Within(t)); err != nil {
		t.Error(err)
	}
	for leader, err := range observer.Observe(trial.Within(t), "rights/mine") {
		if err != nil || string(leader.Value) != "y" {
			t.Errorf("an observer sees %q, error %v", leader.Value, err)
		}
		break
	}

	denied := func(what string, err error) {
		t.Helper()
		trial.MustBe(t, what, err, backend.ErrDenied)
		if retry.IsPermanent(err) {
			t.Errorf("%s: %v is permanent, though rights can be granted", what, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the message holds a password: %v", what, err)
		}
	}
	_, err := candidate.Campaign(trial.Within(t), "rights/theirs", nil)
	denied("Campaign for another's key", err)
	_, err = observer.Campaign(trial.Within(t), "rights/mine", nil)
	denied("an observer's Campaign", err)
	for _, err := range observer.Observe(trial.Within(t), "rights/theirs") {
		denied("Observe of another's key", err)
	}

	// Rights that are taken away while somebody leads.
	server.Ctl("role", "revoke-permission", "candidate", "--prefix=true", "rights/mine/")
	_, err = l.Renew(trial.Within(t))
	denied("Renew without rights", err)
	denied("Resign without rights", l.Resign(trial.Within(t)))
	server.Ctl("role", "grant-permission", "candidate", "readwrite", "--prefix=true", "rights/mine/")
	if next := trial.Win(t, candidate, "rights/mine", "z"); next.Token() <= l.Token() {
		t.Errorf("token %d after %d", next.Token(), l.Token())
	}

	// No login, where one is required.
	anonymous := open(t, connect(t, []string{server.Endpoint()}), etcd.WithTTL(long))
	if _, err := anonymous.Campaign(trial.Within(t), "rights/mine", nil); !retry.IsPermanent(err) {
		t.Errorf("Campaign without a login: %v, want a permanent error", err)
	}
	for _, err := range anonymous.Observe(trial.Within(t), "rights/mine") {
		if !retry.IsPermanent(err) {
			t.Errorf("Observe without a login: %v, want a permanent error", err)
		}
	}

	// A password that is changed under a client: its token is refused in time, and it cannot get another.
	server.Ctl("user", "delete", "observer")
	for _, err := range observer.Observe(trial.Within(t), "rights/mine") {
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the message holds a password: %v", err)
		}
		if !retry.IsPermanent(err) {
			t.Errorf("Observe of a user that is no more: %v, want a permanent error", err)
		}
		break
	}
}

// A full store takes no writes and says so, in passing.
func TestFullStore(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t, servers.EtcdArgs("--quota-backend-bytes=4194304"))
	client := connect(t, []string{server.Endpoint()})
	b := open(t, client, etcd.WithTTL(long))
	l := trial.Win(t, b, "full/held", "x")
	for {
		_, err := client.Put(trial.Within(t), "filler", strings.Repeat("x", 1<<20))
		if err != nil {
			break
		}
	}
	_, err := b.Campaign(trial.Within(t), "full/new", []byte("x"))
	trial.MustPass(t, "Campaign", err)
	if err == nil || !strings.Contains(err.Error(), "NOSPACE") {
		t.Errorf("Campaign: %v, want it to name the alarm", err)
	}
	if _, err := l.Renew(trial.Within(t)); err != nil {
		t.Errorf("Renew in a full store: %v", err)
	}
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Errorf("Resign in a full store: %v", err)
	}
}

func TestValueSize(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	var calls counter
	b := open(t, connect(t, []string{server.Endpoint()}, calls.count), etcd.WithTTL(long))
	l := trial.Win(t, b, "size", strings.Repeat("x", etcd.MaxValueLen))
	before := calls.all.Load()
	big := make([]byte, etcd.MaxValueLen+1)
	_, err := b.Campaign(trial.Within(t), "size/2", big)
	for _, err := range []error{err, l.Proclaim(trial.Within(t), big)} {
		if !retry.IsPermanent(err) || !strings.Contains(err.Error(), "1048577") || !strings.Contains(err.Error(), "1048576") {
			t.Errorf("%v, want a permanent error with both numbers", err)
		}
	}
	if got := calls.all.Load() - before; got != 0 {
		t.Errorf("%d requests for what is refused at once", got)
	}
}

func TestCancelledBeforeItStarts(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	var calls counter
	b := open(t, connect(t, []string{server.Endpoint()}, calls.count), etcd.WithTTL(long))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Campaign(ctx, "cancelled", nil)
	if !errors.Is(err, context.Canceled) || calls.all.Load() != 0 {
		t.Errorf("%v after %d requests", err, calls.all.Load())
	}
}
