package rediskv_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/rediskv"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
	"github.com/hustings-go/hustings/retry"
)

const nowhere = "127.0.0.1:1"

// login makes a client of a user.
func login(t testing.TB, server *servers.Redis, user, password string) *redis.Client {
	t.Helper()
	return connect(t, server.Endpoint(), func(o *redis.Options) { o.Username, o.Password = user, password })
}

func candidateRights() []string {
	return []string{
		"+evalsha", "+eval", "+hmget", "+exists", "+get", "+set", "+incr", "+hset", "+pexpire", "+pttl", "+del", "+publish", "+pubsub|numsub",
		"+subscribe", "+unsubscribe", "+ping",
	}
}

// grant makes a user with rights, as doc.go has them.
func grant(server *servers.Redis, user string, rights ...string) {
	server.Cli(append([]string{"acl", "setuser", user, "on", ">s3cret-" + user}, rights...)...)
}

// play uses all that a candidate does, and returns the first error.
func play(t testing.TB, b, other *rediskv.Backend, key string) error {
	ctx := trial.Within(t)
	l, err := b.Campaign(ctx, key, []byte("x"))
	if err != nil {
		return err
	}
	_, renewed := l.Renew(ctx)
	proclaimed := l.Proclaim(ctx, []byte("y"))
	if err := errors.Join(renewed, proclaimed); err != nil {
		return errors.Join(err, l.Resign(ctx))
	}
	for leader, err := range b.Observe(ctx, key) {
		if err != nil {
			return errors.Join(err, l.Resign(ctx))
		}
		if string(leader.Value) != "y" {
			t.Errorf("observed %q", leader.Value)
		}
		break
	}
	if err := l.Resign(ctx); err != nil {
		return err
	}
	// And behind another, which resigns.
	guard := trial.Win(t, other, key, "guard")
	result := trial.Campaign(t, ctx, b, key, "z")
	resign := time.AfterFunc(100*time.Millisecond, func() { _ = guard.Resign(ctx) })
	defer resign.Stop()
	o := trial.Receive(t, "the campaign", result)
	if o.Err != nil {
		return errors.Join(o.Err, guard.Resign(ctx))
	}
	return o.Lease.Resign(ctx)
}

func TestRights(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	free := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long))
	where := []string{"~{rights/mine}:*", "resetchannels", "&{rights/mine}:events"}
	grant(server, "candidate", append(where, candidateRights()...)...)
	candidate := open(t, login(t, server, "candidate", "s3cret-candidate"), rediskv.WithTTL(long))
	if err := play(t, candidate, free, "rights/mine"); err != nil {
		t.Fatalf("with the documented rights: %v", err)
	}
	server.Cli("acl", "setuser", "observer", "on", ">s3cret-observer", "%R~{rights/mine}:lease", "resetchannels", "&{rights/mine}:events",
		"+hmget", "+pttl", "+subscribe", "+unsubscribe", "+ping")
	observer := open(t, login(t, server, "observer", "s3cret-observer"), rediskv.WithTTL(long))
	for leader, err := range observer.Observe(trial.Within(t), "rights/mine") {
		if err != nil || !leader.Vacant() {
			t.Errorf("an observer sees %v, error %v", leader, err)
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

	// Each right is needed, but for two that only a rare turn takes, and one that a script in the server's
	// memory does not. None that is missing leaves a record that never expires.
	rare := map[string]bool{"+set": true, "+ping": true, "+unsubscribe": true, "+eval": true, "+exists": true}
	for i, right := range candidateRights() {
		if rare[right] {
			continue
		}
		user := "without" + strings.NewReplacer("+", "-", "|", "-").Replace(right)
		rights := append(append([]string{}, where...), candidateRights()[:i]...)
		grant(server, user, append(rights, candidateRights()[i+1:]...)...)
		b := open(t, login(t, server, user, "s3cret-"+user), rediskv.WithTTL(long))
		denied("without "+right, play(t, b, free, "rights/mine"))
		if ttl := server.Cli("pttl", "{rights/mine}:lease"); ttl == "-1" {
			t.Errorf("without %s: the record that is left never expires", right)
		}
		server.Cli("del", "{rights/mine}:lease")
		server.Cli("publish", "{rights/mine}:events", "")
	}
	// Nor where it could not be taken back either.
	grant(server, "clumsy", append(append(append([]string{}, where...), candidateRights()...), "-pexpire", "-del")...)
	_, err = open(t, login(t, server, "clumsy", "s3cret-clumsy")).Campaign(trial.Within(t), "rights/mine", nil)
	denied("without +pexpire and +del", err)
	if ttl := server.Cli("pttl", "{rights/mine}:lease"); ttl != "-2" {
		t.Errorf("without +pexpire and +del: the record that is left ends in %s ms", ttl)
	}
	server.Cli("script", "flush")
	grant(server, "without-eval", append(where, "+evalsha", "+hmget")...)
	_, err = open(t, login(t, server, "without-eval", "s3cret-without-eval")).Campaign(trial.Within(t), "rights/mine", nil)
	denied("without +eval", err)
}

func TestRightsInCluster(t *testing.T) {
	t.Parallel()
	server := servers.StartRedisCluster(t)
	dial := func(user, password string) *rediskv.Backend {
		client := redis.NewClusterClient(rediskv.ClusterOptions(&redis.ClusterOptions{Addrs: []string{server.Endpoint()}, Username: user, Password: password}))
		t.Cleanup(func() { _ = client.Close() })
		return open(t, client, rediskv.WithTTL(long))
	}
	grant(server, "candidate", append(candidateRights(), "~{mine}:*", "resetchannels", "&{mine}:events", "+cluster|slots", "+command")...)
	if err := play(t, dial("candidate", "s3cret-candidate"), dial("", ""), "mine"); err != nil {
		t.Errorf("with the documented rights: %v", err)
	}
}

func TestWrongLogin(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t, servers.RedisPassword("s3cret"))
	for name, client := range map[string]*redis.Client{
		"no password":    connect(t, server.Endpoint()),
		"wrong password": connect(t, server.Endpoint(), func(o *redis.Options) { o.Password = "s3cret-but-wrong" }),
		"unknown user":   login(t, server, "nobody", "s3cret-but-wrong"),
	} {
		b := open(t, client, rediskv.WithTTL(long))
		_, campaigned := b.Campaign(trial.Within(t), "login", nil)
		errs := []error{campaigned}
		for _, err := range b.Observe(trial.Within(t), "login") {
			errs = append(errs, err)
		}
		for _, err := range errs {
			mustRefuse(t, err, "refuses the login")
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s: the message holds a password: %v", name, err)
			}
		}
	}
	b := open(t, connect(t, server.Endpoint(), func(o *redis.Options) { o.Password = "s3cret" }), rediskv.WithTTL(long))
	if err := trial.Win(t, b, "login", "x").Resign(trial.Within(t)); err != nil {
		t.Error(err)
	}
}

// What somebody else keeps under an election's keys is left alone, and said to be in the way.
func TestKeyInUse(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	b := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long))
	for key, command := range map[string][]string{
		"string":       {"set", "{string}:lease", "theirs"},
		"list":         {"rpush", "{list}:lease", "theirs"},
		"hash":         {"hset", "{hash}:lease", "color", "red"},
		"fence-string": {"set", "{fence-string}:fence", "theirs"},
		"fence-minus":  {"set", "{fence-minus}:fence", "-5"},
		"fence-hash":   {"hset", "{fence-hash}:fence", "color", "red"},
		"fence-zero":   {"set", "{fence-zero}:fence", "007"},
	} {
		server.Cli(command...)
		before := server.Cli("dump", command[1])
		_, err := b.Campaign(trial.Within(t), key, []byte("x"))
		mustRefuse(t, err, "in use by something else")
		if server.Cli("dump", command[1]) != before {
			t.Errorf("%s: what was there has changed", key)
		}
	}
	server.Cli("set", "{last}:fence", "9223372036854775807")
	_, err := b.Campaign(trial.Within(t), "last", nil)
	mustRefuse(t, err, "counter of tokens is at its end")

	// Large tokens are exact, though Lua's numbers are not.
	server.Cli("set", "{large}:fence", "9007199254740992") // 2^53
	for want := uint64(1<<53) + 1; want < 1<<53+4; want++ {
		l := trial.Win(t, b, "large", "x")
		if l.Token() != want {
			t.Errorf("token %d, want %d", l.Token(), want)
		}
		if err := l.Resign(trial.Within(t)); err != nil {
			t.Error(err)
		}
	}

	// A record that was edited is not taken for vacancy, nor for a lower token.
	server.Cli("hset", "{garbled}:lease", "holder", "x", "token", "minus one")
	_, err = b.Campaign(trial.Within(t), "garbled", nil)
	trial.MustPass(t, "Campaign", err)
	for leader, err := range b.Observe(trial.Within(t), "garbled") {
		trial.MustPass(t, "Observe", err)
		if !leader.Vacant() {
			t.Errorf("observed %v", leader)
		}
	}
}

// A server that takes no writes says so, in passing, with a word for the operator.
func TestServerTakesNoWrites(t *testing.T) {
	t.Parallel()
	for want, set := range map[string][2][]string{
		"out of memory":     {{"config", "set", "maxmemory", "1"}, {"config", "set", "maxmemory", "0"}},
		"too few replicas":  {{"config", "set", "min-replicas-to-write", "1"}, {"config", "set", "min-replicas-to-write", "0"}},
		"read only replica": {{"replicaof", "127.0.0.1", "1"}, {"replicaof", "no", "one"}},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			server := servers.StartRedis(t)
			b := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long))
			l := trial.Win(t, b, "held", "x")
			server.Cli(set[0]...)
			_, err := b.Campaign(trial.Within(t), "new", []byte("x"))
			trial.MustPass(t, "Campaign", err)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Campaign: %v, want it to say %q", err, want)
			}
			server.Cli(set[1]...)
			if _, err := l.Renew(trial.Within(t)); err != nil {
				t.Errorf("Renew: %v", err)
			}
			trial.Win(t, b, "new", "x")
		})
	}
}

// Scripts that the server has forgotten are sent again, whole; nothing else is.
func TestScriptsForgotten(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	b := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long))
	ctx := trial.Within(t)
	for range 2 {
		l := trial.Win(t, b, "forgotten", "x")
		server.Cli("script", "flush")
		if _, err := l.Renew(ctx); err != nil {
			t.Error(err)
		}
		if err := l.Proclaim(ctx, nil); err != nil {
			t.Error(err)
		}
		if err := l.Resign(ctx); err != nil {
			t.Error(err)
		}
		server.Cli("script", "flush")
	}
}
