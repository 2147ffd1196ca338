package consul_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"regexp"
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

// What becomes another's while a term looks for what is left of it is left alone.
func TestWhatBecomesAnothersIsLeftAlone(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	rival := open(t, connect(t, server.Endpoint()), consul.WithTTL(long))
	const key = "becomes/another"
	var theirs backend.Lease
	take := sync.OnceFunc(func() {
		remove(t, operator, key)
		remove(t, operator, key+"~term")
		theirs = trial.Win(t, rival, key, "z")
	})
	w := newWire()
	w.answer = func(req *http.Request) *http.Response {
		if text := transaction(req); strings.Contains(text, `"check-index"`) && strings.Contains(text, `"delete"`) {
			take() // after what is left was read, and before it is deleted
		}
		return nil
	}
	l := trial.Win(t, open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long)), key, "x")
	if _, err := operator.KV().Put(&api.KVPair{Key: key, Value: []byte("graffiti"), Flags: api.LockFlagValue}, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Error(err)
	}
	if theirs == nil {
		t.Fatal("nothing was read before it was given up")
	}
	if _, err := theirs.Renew(trial.Within(t)); err != nil {
		t.Errorf("the other's term: %v", err)
	}
}

// A key that cannot be given up is not kept by the session's other terms for longer than a TTL.
func TestAKeyThatCannotBeGivenUpEndsTheSession(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := newWire()
	var failing atomic.Bool
	w.fail = func(req *http.Request) error {
		if text := transaction(req); failing.Load() && strings.Contains(text, `"cannot/key"`) && strings.Contains(text, `"delete`) {
			return errDead
		}
		return nil
	}
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(short))
	kept, l := trial.Win(t, b, "cannot/kept", "x"), trial.Win(t, b, "cannot/key", "x")
	failing.Store(true)
	began := time.Now()
	trial.MustBe(t, "Resign", l.Resign(trial.Within(t)), errDead)
	tick := time.NewTicker(short / 10)
	defer tick.Stop()
	for {
		_, err := kept.Renew(trial.Within(t))
		took := time.Since(began)
		if err != nil && strings.Contains(err.Error(), "cannot/key could not be given up") {
			trial.MustPass(t, "Renew", err)
			if took < short {
				t.Errorf("after %v: %v", took, err)
			}
			break
		}
		if took > 2*short {
			t.Fatalf("the session is kept alive for %v", took)
		}
		trial.Receive(t, "the time to renew", tick.C)
	}
	failing.Store(false)
	trial.Insist(t, "Renew after it was given up", func() error { _, err := kept.Renew(trial.Within(t)); return err })
	if left := keys(t, connect(t, server.Endpoint()), "cannot/key"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// Nobody stands any more on a session on which a write may still arrive; so it ends with the last who did, and what was written is
// given up, also when the caller has left.
func TestASessionOfALostAnswerIsEnded(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	for _, leaves := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		w := newWire()
		var lost atomic.Bool
		w.fail = func(req *http.Request) error {
			if !strings.Contains(transaction(req), `"lock"`) || lost.Swap(true) {
				return nil
			}
			resp, err := w.transport.RoundTrip(req)
			if err != nil {
				return err
			}
			resp.Body.Close()
			if leaves {
				cancel()
			}
			return errDead
		}
		b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long))
		_, err := b.Campaign(ctx, "answer/lost", nil)
		cancel()
		trial.MustBe(t, "Campaign", err, map[bool]error{false: errDead, true: context.Canceled}[leaves])
		if left := sessions(t, operator); len(left) > 0 {
			t.Errorf("%d sessions are left", len(left))
		}
		if left := keys(t, operator, "answer"); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
		if err := trial.Win(t, b, "answer/lost", "x").Resign(trial.Within(t)); err != nil {
			t.Error(err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What reads may be asked twice. A write that fails as if it had been cancelled may have been done, and is not made again.
func TestAWriteIsNotRepeated(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := newWire()
	var writes atomic.Int64
	w.fail = func(req *http.Request) error {
		if strings.Contains(transaction(req), `"lock"`) && writes.Add(1) == 1 {
			return context.Canceled
		}
		return nil
	}
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long))
	_, err := b.Campaign(trial.Within(t), "repeated", nil)
	trial.MustPass(t, "Campaign", err)
	if n := writes.Load(); n != 1 {
		t.Errorf("%d writes by one candidacy", n)
	}
	trial.Win(t, b, "repeated", "x")
}

// Nobody wins by an answer that does not say that the key is its session's. No Consul gives such a one: it is made up.
func TestNobodyWinsByAnothersAnswer(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	session := regexp.MustCompile(`"Session": ?"[^"]+"`)
	for _, half := range []string{"", "~term"} {
		key := "anothers/answer"
		entry := regexp.MustCompile(`"Key": ?"` + key + half + `"[^}]*}`)
		w := newWire()
		var bent atomic.Bool
		w.answer = func(req *http.Request) *http.Response {
			if !strings.Contains(transaction(req), `"lock"`) {
				return nil
			}
			resp, err := w.transport.RoundTrip(req)
			if err != nil {
				return nil
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				return nil
			}
			other := entry.ReplaceAllFunc(body, func(e []byte) []byte {
				bent.Store(true)
				return session.ReplaceAll(e, []byte(`"Session":"`+unknown+`"`))
			})
			resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(other)), int64(len(other))
			return resp
		}
		b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long))
		_, err := b.Campaign(trial.Within(t), key, nil)
		trial.MustPass(t, "Campaign", err)
		if !bent.Load() {
			t.Error("the answer is as it was")
		}
		if left := keys(t, operator, ""); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	}
}

// To give a key up may take long, and leaves time to renew the session for the other terms.
func TestGivingUpThatHangsLeavesTimeToRenew(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := newWire()
	var armed atomic.Bool
	hung := make(chan struct{}, 64)
	w.answer = func(req *http.Request) *http.Response {
		if text := transaction(req); armed.Load() && strings.Contains(text, `"giving/up"`) && strings.Contains(text, `"delete`) {
			hung <- struct{}{}
			<-req.Context().Done()
		}
		return nil
	}
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(20*time.Second))
	kept, l := trial.Win(t, b, "giving/kept", "x"), trial.Win(t, b, "giving/up", "x")
	armed.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	resigns := trial.Beside(t, ctx, l.Resign)
	trial.Receive(t, "the resignation", hung)
	cancel()
	trial.MustBe(t, "Resign", trial.Receive(t, "its end", resigns), context.Canceled)
	var err error
	for range 3 { // attempts, as an election makes them
		if _, err = kept.Renew(trial.Within(t)); err == nil {
			break
		}
	}
	if err != nil {
		t.Errorf("Renew of another term: %v", err)
	}
	trial.Receive(t, "another try to give it up", hung)
	armed.Store(false)
}
