package consul_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/consul"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// blocking is how many queries block now.
func (w *wire) blocking() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, of := range w.asking {
		n += of
	}
	return n
}

// A leader who stops listening and resigns, as an election does, breaks no query off: the deletion of the key ends it. When Resign has
// returned, it is over. So it is with one that observes beside.
func TestHandoverBreaksNoQueryOff(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	for _, observed := range []bool{false, true} {
		key := map[bool]string{false: "handover/alone", true: "handover/observed"}[observed]
		wires := [2]*wire{newWire(), newWire()}
		var backends [2]*consul.Backend
		for i, w := range wires {
			backends[i] = open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long))
			if observed {
				observe(t, backends[i], key)
			}
		}
		leader, late := trial.Win(t, backends[0], key, "x"), int64(0)
		for i := range 10 {
			w, next := wires[i%2], 1-i%2
			stop := leader.(*consul.Lease).TellLoss(t.Context(), func(error) {})
			w.asks(t, key)
			won := trial.Campaign(t, t.Context(), backends[next], key, "x")
			wires[next].asks(t, key)
			asked := w.queries.Load()
			began := time.Now()
			stop()
			if got := w.blocking(); got != 1 && !observed && time.Since(began) < consul.Lingering {
				t.Errorf("%s: %d queries block when the leader has stopped listening", key, got)
			}
			if err := leader.Resign(trial.Within(t)); err != nil {
				t.Fatal(err)
			}
			// Whoever is told of the deletion later than the query is waited for has it broken off. That is the machine's.
			if !observed && time.Since(began) >= consul.WakeTime {
				late++
			}
			if got := w.blocking(); got != 0 && !observed {
				t.Errorf("%s: %d queries block when Resign has returned", key, got)
			}
			o := trial.Receive(t, "the win", won)
			if o.Err != nil {
				t.Fatal(o.Err)
			}
			leader = o.Lease
			if !observed {
				continue
			}
			servers.Await(t, "the observer's next query", func(context.Context) error {
				if w.queries.Load() == asked {
					return errors.New("there is none")
				}
				return nil
			})
			if time.Since(began) >= consul.Lingering {
				late++
			}
		}
		<-time.After(2 * consul.Lingering) // which ends what was left to be ended
		if got := wires[0].broken.Load() + wires[1].broken.Load(); got > late {
			t.Errorf("%s: %d queries were broken off, and %d were told late", key, got, late)
		}
	}
}

// A query that is not woken, as the key was not given up, does not outlive Resign either.
func TestNoQueryOutlivesAResignThatFails(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	w := newWire()
	var cut atomic.Bool
	w.fail = func(req *http.Request) error {
		if cut.Load() && req.URL.Path == "/v1/txn" {
			return errDead
		}
		return nil
	}
	b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long))
	l := trial.Win(t, b, "outlive/key", "x")
	stop := l.(*consul.Lease).TellLoss(t.Context(), func(error) {})
	w.asks(t, "outlive/key")
	cut.Store(true)
	stop()
	if err := l.Resign(trial.Within(t)); !errors.Is(err, errDead) {
		t.Fatalf("Resign: %v", err)
	}
	if got := w.blocking(); got != 0 {
		t.Errorf("%d queries block", got)
	}
	cut.Store(false)
	if err := l.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
}

// A term gives up what it wrote itself, in one request, also after it announced another value; and what others wrote
// to its key meanwhile costs it more, but not the key.
func TestResignGivesUpWhatTheTermWrote(t *testing.T) {
	t.Parallel()
	server := servers.StartConsul(t)
	operator := connect(t, server.Endpoint())
	for _, tc := range []struct {
		name string
		do   func(key string, l backend.Lease) error
		once bool
	}{
		{"as it was won", func(string, backend.Lease) error { return nil }, true},
		{"another value", func(_ string, l backend.Lease) error { return l.Proclaim(trial.Within(t), []byte("new")) }, true},
		{"the same value", func(_ string, l backend.Lease) error { return l.Proclaim(trial.Within(t), []byte("x")) }, true},
		{"a stranger's value", func(key string, _ backend.Lease) error {
			_, err := operator.KV().Put(&api.KVPair{Key: key, Value: []byte("stranger"), Flags: api.LockFlagValue}, nil)
			return err
		}, false},
		{"no sibling", func(key string, _ backend.Lease) error {
			_, err := operator.KV().Delete(key+"~term", nil)
			return err
		}, true},
		{"given up already", func(key string, l backend.Lease) error { return l.Resign(context.WithoutCancel(t.Context())) }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWire()
			b := open(t, connectBy(t, w, server.Endpoint()), consul.WithTTL(long))
			key := "resign/" + strings.ReplaceAll(strings.ReplaceAll(tc.name, " ", "-"), "'", "")
			l := trial.Win(t, b, key, "x")
			if err := tc.do(key, l); err != nil {
				t.Fatal(err)
			}
			before := w.txns.Load()
			if err := l.Resign(trial.Within(t)); err != nil {
				t.Fatal(err)
			}
			if got := w.txns.Load() - before; (got == 1) != tc.once {
				t.Errorf("given up by %d transactions", got)
			}
			if left := keys(t, operator, key); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}
