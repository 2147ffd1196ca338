package zookeeper_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/zookeeper"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
	"github.com/hustings-go/hustings/retry"
)

func TestNewRefusesWhatCannotBe(t *testing.T) {
	one := []string{"127.0.0.1:2181"}
	for name, c := range map[string]struct {
		servers []string
		opt     zookeeper.Option
		says    string
	}{
		"no servers":          {nil, zookeeper.Option{}, "no servers are named"},
		"an empty server":     {[]string{"a:1", ""}, zookeeper.Option{}, "a server is empty"},
		"no TTL":              {one, zookeeper.WithTTL(0), "at least 4 ticks of the server, 8s"},
		"a negative TTL":      {one, zookeeper.WithTTL(-time.Second), "the TTL is -1s"},
		"a TTL of few ticks":  {one, zookeeper.WithTTL(7999 * time.Millisecond), "at least 4 ticks of the server, 8s"},
		"a TTL too fine":      {one, zookeeper.WithTTL(15*time.Second + 1), "whole milliseconds"},
		"a TTL of years":      {one, zookeeper.WithTTL(200 * 365 * 24 * time.Hour), "at most 24h"},
		"no tick":             {one, zookeeper.WithTick(0), "the tick is 0s"},
		"a relative root":     {one, zookeeper.WithRoot("root"), `"root" is not an absolute path`},
		"a root with an end":  {one, zookeeper.WithRoot("/root/"), `"/root/" is not an absolute path`},
		"a root that is odd":  {one, zookeeper.WithRoot("/ro ot"), `invalid key "ro ot"`},
		"an empty root":       {one, zookeeper.WithRoot(""), `"" is not an absolute path`},
		"a dialer that's nil": {one, zookeeper.WithDialer(nil), "the dialer is nil"},
		"an empty ACL":        {one, zookeeper.WithACL(), "the ACL is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := zookeeper.New(c.servers, c.opt)
			if b != nil || !retry.IsPermanent(err) || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("%v, error %v, want a permanent one that says %q", b, err, c.says)
			}
		})
	}
}

func TestAServerThatGrantsTooLittleIsRefused(t *testing.T) {
	server := servers.StartZooKeeper(t, servers.ZooKeeperConfig("maxSessionTimeout=600"))
	_, err := open(t, []string{server.Endpoint()}).Campaign(trial.Within(t), "key", nil)
	if !retry.IsPermanent(err) || !strings.Contains(err.Error(), "600ms") || !strings.Contains(err.Error(), "800ms") {
		t.Errorf("%v, want a permanent error that tells 600ms and 800ms", err)
	}
}

func TestAGrantGoesByWhatTheServerGrants(t *testing.T) {
	server := servers.StartZooKeeper(t, servers.ZooKeeperConfig("maxSessionTimeout=5000"))
	l := win(t, open(t, []string{server.Endpoint()}, zookeeper.WithTTL(20*time.Second)), "key", "value")
	if g := l.Grant(); g.TTL > 5*time.Second || g.TTL < 3*time.Second {
		t.Errorf("the grant is %v of the 5s that the server grants", g.TTL)
	}
}

func TestRights(t *testing.T) {
	const secret = "s3cret-passw0rd"
	server := servers.StartZooKeeper(t)
	endpoints := []string{server.Endpoint()}
	acl := zk.DigestACL(zk.PermAll, "alice", secret)
	owner := func() *zookeeper.Backend {
		return open(t, endpoints, zookeeper.WithName("owner"), zookeeper.WithAuth("digest", []byte("alice:"+secret)), zookeeper.WithACL(acl...))
	}
	l := win(t, owner(), "rights", "value")

	refuses := func(what string, b *zookeeper.Backend) {
		t.Helper()
		_, err := b.Campaign(trial.Within(t), "rights", nil)
		trial.MustBe(t, "Campaign with "+what, err, backend.ErrDenied)
		for _, observed := range b.Observe(trial.Within(t), "rights") {
			trial.MustBe(t, "Observe with "+what, observed, backend.ErrDenied)
			err = errors.Join(err, observed)
		}
		if text := fmt.Sprint(err); strings.Contains(text, secret) || strings.Contains(text, "wrong") || !strings.Contains(text, `"rights"`) {
			t.Errorf("the error tells a secret, or not the key: %q", text)
		}
	}
	refuses("no password", open(t, endpoints))
	refuses("a wrong password", open(t, endpoints, zookeeper.WithAuth("digest", []byte("alice:wrong"))))

	next := campaign(t, t.Context(), owner(), "rights", "next")
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	if won := trial.Receive(t, "the next win", next); won.err != nil {
		t.Error(won.err)
	}

	_, err := open(t, endpoints, zookeeper.WithAuth("no-such-scheme", []byte(secret))).Campaign(trial.Within(t), "other", nil)
	if !retry.IsPermanent(err) || strings.Contains(err.Error(), secret) {
		t.Errorf("a scheme that the server does not know: %v, want a permanent error without the secret", err)
	}
	_, err = open(t, endpoints, zookeeper.WithACL(zk.ACL{Perms: zk.PermAll, Scheme: "no-such-scheme", ID: "x"})).Campaign(trial.Within(t), "other", nil)
	if !retry.IsPermanent(err) {
		t.Errorf("an ACL that the server does not know: %v, want a permanent error", err)
	}
}

// Candidates with ACLs of their own each cannot read each other's nodes, and wait for each other all the same: not for
// long, since the TTL is; and also where a new connection is all that tells.
func TestCandidatesNeedNotReadEachOther(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	for _, key := range []string{"private", "muted"} {
		stay(t, operator, zookeeper.DefaultRoot+"/"+key)
	}
	private := func(name string, opts ...zookeeper.Option) *zookeeper.Backend {
		return open(t, []string{server.Endpoint()}, append(opts, zookeeper.WithTTL(20*time.Second),
			zookeeper.WithAuth("digest", []byte(name+":pw")), zookeeper.WithACL(zk.DigestACL(zk.PermAll, name, "pw")...))...)
	}
	for key, muted := range map[string]bool{"private": false, "muted": true} {
		tap := &wiretap{mute: new(atomic.Bool), watches: make(chan struct{}, 16)}
		l := win(t, private("alice"), key, "a")
		next := campaign(t, t.Context(), private("bob", zookeeper.WithDialer(tap.dial)), key, "b")
		if queued(t, operator, key, 2); muted {
			for range 2 { // on the node before its own, which is refused, and on its own after that
				trial.Receive(t, "a watch", tap.watches)
			}
			tap.mute.Store(true)
		}
		if err := l.Resign(trial.Within(t)); err != nil {
			t.Fatal(err)
		}
		if muted {
			tap.drop()
		}
		won := trial.Receive(t, "the next win", next)
		if won.err != nil {
			t.Fatal(won.err)
		}
		if _, err := won.lease.Renew(trial.Within(t)); err != nil {
			t.Error(err)
		}
	}
}

func TestAnEphemeralNodeOnThePathIsTold(t *testing.T) {
	server := servers.StartZooKeeper(t)
	operator := connect(t, server.Endpoint())
	if _, err := operator.Create("/ephemeral", nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, []string{server.Endpoint()}, zookeeper.WithRoot("/ephemeral")).Campaign(trial.Within(t), "key", nil)
	if !retry.IsPermanent(err) || !strings.Contains(err.Error(), "ephemeral") {
		t.Errorf("%v, want a permanent error that tells", err)
	}
}

func TestNobodyAnswers(t *testing.T) {
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	refusing, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing.Close()
	for what, address := range map[string]string{"silent": silent.Addr().String(), "refusing": refusing.Addr().String(), "unknown": "no-such-host.invalid:2181"} {
		b := open(t, []string{address}, zookeeper.WithTTL(shortTTL))
		began := time.Now()
		_, err := b.Campaign(trial.Within(t), "key", nil)
		trial.MustPass(t, "Campaign with a server that is "+what, err)
		trial.MustBe(t, "Campaign with a server that is "+what, err, context.DeadlineExceeded)
		if took := time.Since(began); took > shortTTL {
			t.Errorf("Campaign with a server that is %s took %v", what, took)
		}
	}
}
