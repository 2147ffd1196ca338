package rediskv_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/rediskv"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// Answers that take long do not lengthen a term: it counts from when the request was sent.
func TestSlowAnswers(t *testing.T) {
	t.Parallel()
	const ttl, delay = 6 * time.Second, 400 * time.Millisecond
	server := servers.StartRedis(t)
	proxy := servers.StartProxy(t, server.Endpoint())
	slow := open(t, connect(t, proxy.Addr()), rediskv.WithTTL(ttl))
	fast := connect(t, server.Endpoint())
	l := trial.Win(t, slow, "warm", "x") // connects
	proxy.Delay(delay)
	check := func(what, key string, g backend.Grant) {
		t.Helper()
		left, err := fast.PTTL(trial.Within(t), "{"+key+"}:lease").Result()
		now := backend.Now()
		if err != nil {
			t.Fatal(err)
		}
		// Both ends of a lease, as counted here and there.
		if promised := g.TTL - now.Since(g.Sent); promised > left-delay/2 {
			t.Errorf("%s: %v are left by the grant, and %v in the store", what, promised, left)
		}
	}
	g, err := l.Renew(trial.Within(t))
	if err != nil {
		t.Fatal(err)
	}
	check("Renew", "warm", g)
	check("Campaign", "slow", trial.Win(t, slow, "slow", "x").Grant())
}

// A try that its caller has left, and that reaches the store late, holds nothing up: the next candidacy of
// the same session replaces what it wrote, and nobody is left holding a term.
func TestLateAcquire(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	proxy := servers.StartProxy(t, server.Endpoint())
	b := open(t, connect(t, proxy.Addr()), rediskv.WithTTL(3*time.Second)) // requests are bounded by 1 s
	operator := connect(t, server.Endpoint())
	if err := trial.Win(t, b, "late", "x").Resign(trial.Within(t)); err != nil { // connects
		t.Fatal(err)
	}
	proxy.CutUp()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := b.Campaign(ctx, "late", []byte("ghost"))
	trial.MustBe(t, "Campaign", err, context.DeadlineExceeded)
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it returned after %v", took)
	}
	proxy.Heal()
	servers.Await(t, "the ghost", func(ctx context.Context) error {
		return operator.HGet(ctx, "{late}:lease", "value").Err()
	})
	l := trial.Win(t, b, "late", "new")
	if got := operator.HGet(trial.Within(t), "{late}:lease", "value").Val(); got != "new" {
		t.Errorf("the record holds %q", got)
	}
	if _, err := l.Renew(trial.Within(t)); err != nil {
		t.Error(err)
	}
}

// A request of an earlier candidacy that comes later than the next one has won takes nothing from it.
func TestAcquireFromThePast(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	client := connect(t, server.Endpoint())
	b := open(t, client, rediskv.WithTTL(long))
	first := trial.Win(t, b, "past", "first")
	// What the first acquire sent is found in the record that it wrote.
	record := client.HGetAll(trial.Within(t), "{past}:lease").Val()
	if err := first.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	second := trial.Win(t, b, "past", "second")
	again, err := repeatAcquire(t, client, "past", record)
	if err != nil || again[0] != "held" {
		t.Errorf("a late acquire got %v, error %v", again, err)
	}
	if _, err := second.Renew(trial.Within(t)); err != nil {
		t.Error(err)
	}
	// Where it comes to a free key, it takes it, for nobody; and gives way to the session's next candidacy.
	if err := second.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	if again, err = repeatAcquire(t, client, "past", record); err != nil || again[0] != "won" {
		t.Errorf("a late acquire got %v, error %v", again, err)
	}
	second = trial.Win(t, b, "past", "second again")
	// The same one repeated, as a client does behind its caller's back, gets the same term.
	record = client.HGetAll(trial.Within(t), "{past}:lease").Val()
	client.PExpire(trial.Within(t), "{past}:lease", long/2)
	again, err = repeatAcquire(t, client, "past", record)
	if err != nil || again[0] != "won" || again[1] != fmt.Sprint(second.Token()) {
		t.Errorf("a repeated acquire got %v, error %v; want token %d", again, err, second.Token())
	}
	if left := client.PTTL(trial.Within(t), "{past}:lease").Val(); left <= long/2 {
		t.Errorf("a repeated acquire left the lease with %v, and is granted %v", left, long)
	}
}

// repeatAcquire sends once more what won the term of record.
func repeatAcquire(t testing.TB, client *redis.Client, key string, record map[string]string) ([]any, error) {
	t.Helper()
	return client.Eval(trial.Within(t), rediskv.AcquireSource, []string{"{" + key + "}:lease", "{" + key + "}:fence"},
		record["holder"], record["candidacy"], record["ttl"], "0", "1", "0", record["value"], "{"+key+"}:events").Slice()
}

// A cut hides the store; calls return with their contexts, and at the latest with their own bound.
func TestCut(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	proxy := servers.StartProxy(t, server.Endpoint())
	b := open(t, connect(t, proxy.Addr()), rediskv.WithTTL(3*time.Second))
	l := trial.Win(t, b, "cut", "x")
	waited := make(chan error, 1)
	go func() { waited <- l.Wait(trial.Within(t)) }()
	guard := trial.Win(t, open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long)), "cut/2", "guard")
	waiting := trial.Campaign(t, t.Context(), b, "cut/2", "y")
	listeners(t, connect(t, server.Endpoint()), "cut", 1)
	listeners(t, connect(t, server.Endpoint()), "cut/2", 1)
	proxy.Cut()

	_, err := l.Renew(trial.Within(t))
	trial.MustPass(t, "Renew", err)
	if err == nil || !strings.Contains(err.Error(), "did not answer within 1s") {
		t.Errorf("Renew: %v", err)
	}
	soon := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	quickest := time.Hour
	for turn := 0; turn < 5 && quickest > 900*time.Millisecond; turn++ { // more than once only where the machine is slow
		began := time.Now()
		_, err = l.Renew(soon())
		trial.MustBe(t, "Renew", err, context.DeadlineExceeded)
		trial.MustBe(t, "Proclaim", l.Proclaim(soon(), nil), context.DeadlineExceeded)
		trial.MustBe(t, "Resign", l.Resign(soon()), context.DeadlineExceeded)
		quickest = min(quickest, time.Since(began))
	}
	if quickest > 900*time.Millisecond {
		t.Errorf("calls returned %v after their context", quickest)
	}
	// The connection for events went dead without a word, which shows when it is asked.
	err = trial.Receive(t, "Wait", waited)
	trial.MustPass(t, "Wait", err)
	if !strings.Contains(err.Error(), "not answer") { // the events' connection, or a request before that
		t.Errorf("Wait: %v", err)
	}
	trial.MustPass(t, "the waiting campaign", trial.Receive(t, "the waiting campaign", waiting).Err)
	for _, err := range b.Observe(trial.Within(t), "cut") {
		trial.MustPass(t, "Observe", err)
	}
	proxy.Heal()
	if next := persist(t, b, "cut", "again"); next.Token() <= l.Token() {
		t.Errorf("token %d after %d", next.Token(), l.Token())
	}
	if err := guard.Resign(trial.Within(t)); err != nil {
		t.Error(err)
	}
}

// A connection for events that is lost ends what listens on it, in passing; the lease itself is untouched.
func TestEventsCut(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	b := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long))
	l := trial.Win(t, b, "killed", "x")
	for range 2 {
		waited := make(chan error, 1)
		go func() { waited <- l.Wait(trial.Within(t)) }()
		listeners(t, connect(t, server.Endpoint()), "killed", 1)
		server.Cli("client", "kill", "type", "pubsub")
		trial.MustPass(t, "Wait", trial.Receive(t, "Wait", waited))
	}
	if _, err := l.Renew(trial.Within(t)); err != nil {
		t.Error(err)
	}
}

// A server that accepts and never answers costs a call its bound and no more.
func TestMuteServer(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := open(t, connect(t, l.Addr().String()), rediskv.WithTTL(1500*time.Millisecond))
	began := time.Now()
	_, err = b.Campaign(trial.Within(t), "mute", nil)
	trial.MustPass(t, "Campaign", err)
	trial.MustBe(t, "Campaign", err, context.DeadlineExceeded)
	for _, err := range b.Observe(trial.Within(t), "mute") {
		trial.MustPass(t, "Observe", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// A record that an operator has edited is no longer the term's own, whichever part of its identity it was.
func TestEditedRecord(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	b := open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long))
	for field, value := range map[string]string{"holder": "somebody", "candidacy": "999", "token": "999"} {
		renewed, proclaimed, waited := trial.Win(t, b, "edited/renew/"+field, "x"), trial.Win(t, b, "edited/proclaim/"+field, "x"), trial.Win(t, b, "edited/wait/"+field, "x")
		for _, how := range []string{"renew", "proclaim", "wait"} {
			server.Cli("hset", "{edited/"+how+"/"+field+"}:lease", field, value)
		}
		_, err := renewed.Renew(trial.Within(t))
		trial.MustBe(t, "Renew with another "+field, err, backend.ErrLost)
		trial.MustBe(t, "Proclaim with another "+field, proclaimed.Proclaim(trial.Within(t), nil), backend.ErrLost)
		trial.MustBe(t, "Wait with another "+field, waited.Wait(trial.Within(t)), backend.ErrLost)
	}
}

// A renewal that gets no answer does not hold up the next: an election makes three attempts before its time
// is up, and each must have a chance of its own.
func TestHungRenewal(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	proxy := servers.StartProxy(t, server.Endpoint())
	client, direct := divertible(t, proxy, server)
	b := open(t, client, rediskv.WithTTL(long)) // requests are bounded by 5 s
	l := trial.Win(t, b, "hung", "x")
	if _, err := l.Renew(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	proxy.CutDown()
	soon, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := l.Renew(soon)
	trial.MustBe(t, "Renew", err, context.DeadlineExceeded)
	direct.Store(true) // the next connection is a good one
	began := time.Now()
	if _, err := l.Renew(trial.Within(t)); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the next renewal took %v", took)
	}
}
