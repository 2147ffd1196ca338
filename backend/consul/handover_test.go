package consul_test

import (
	"context"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/consul"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

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
