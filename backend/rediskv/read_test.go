package rediskv_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/rediskv"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// Those who look at the same time look together, however many they are, and each is told of its own key.
func TestLooksAreMadeTogether(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	const n = 250 // three round trips of 100
	winAll(t, open(t, connect(t, server.Endpoint()), rediskv.WithTTL(long)), "together", n)
	server.Cli("set", fmt.Sprintf("{together/%d}:lease", n), "theirs")
	var calls counter
	client := connect(t, server.Endpoint(), calls.count)
	h := newHolding("hmget")
	client.AddHook(h)
	b := open(t, client, rediskv.WithTTL(long))
	h.on.Store(true)
	defer b.TellLeaders(t.Context(), "together/first", func(backend.Leader, error) {})()
	trial.Receive(t, "the first answer", h.answered) // which lasts, so that others gather behind it
	h.on.Store(false)
	type news struct {
		i      int
		leader backend.Leader
		err    error
	}
	told := make(chan news, n+1)
	for i := range n + 1 {
		defer b.TellLeaders(t.Context(), fmt.Sprintf("together/%d", i), func(l backend.Leader, err error) { told <- news{i, l, err} })()
	}
	operator := connect(t, server.Endpoint())
	servers.Await(t, "all to listen", func(ctx context.Context) error {
		if channels := operator.PubSubChannels(ctx, "*").Val(); len(channels) != n+2 {
			return fmt.Errorf("%d channels", len(channels))
		}
		return nil
	})
	before := calls.sent.Load()
	h.release <- struct{}{}
	for range n + 1 {
		switch got := trial.Receive(t, "a leader", told); {
		case got.i == n:
			mustRefuse(t, got.err, "in use by something else")
		case got.err != nil || string(got.leader.Value) != fmt.Sprintf("together/%d", got.i):
			t.Errorf("told of %d: %v, error %v", got.i, got.leader, got.err)
		}
	}
	if n := calls.sent.Load() - before; n > 50 {
		t.Errorf("%d requests", n)
	}
}
