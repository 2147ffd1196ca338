//go:build unix

package linear

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/internal/trial"
)

// client is one caller on one session and key, which has one call under way at a time.
type client struct {
	id      int
	backend backend.Backend
	key     string
	history *recorder
	ttl     time.Duration
	random  *rand.Rand
	values  int
	left    []backend.Lease // that it walked away from
}

// stand campaigns, leads for a while, and resigns, or walks away without a word, again and again.
func (c *client) stand(ctx context.Context) {
	for ctx.Err() == nil {
		if lease := c.campaign(ctx); lease != nil {
			c.lead(ctx, lease)
		}
		rest(ctx, c.between(c.ttl/400, c.ttl/20))
	}
}

// value returns one that no other call uses.
func (c *client) value() string {
	c.values++
	return fmt.Sprintf("%d.%d", c.id, c.values)
}

func (c *client) campaign(ctx context.Context) (lease backend.Lease) {
	ctx, cancel := context.WithTimeout(ctx, c.between(c.ttl/40, 3*c.ttl/2))
	defer cancel()
	c.history.record(c.id, op{kind: campaign, value: c.value()}, func(o *op) bool {
		l, err := c.backend.Campaign(ctx, c.key, []byte(o.value))
		if err != nil {
			return false
		}
		lease, o.token, o.until = l, l.Token(), ends(l.Grant())
		return true
	})
	return lease
}

// lead renews and proclaims for a while. It ends with a resignation, or without a word, as a crash does; after
// trouble more often, because there a resignation of unknown outcome could explain any vacancy.
func (c *client) lead(ctx context.Context, lease backend.Lease) {
	troubled := false
	for range c.random.IntN(8) {
		if ctx.Err() != nil || troubled {
			break
		}
		if c.random.IntN(3) == 0 {
			troubled = !c.call(ctx, op{kind: proclaim, token: lease.Token(), value: c.value()}, func(ctx context.Context, o *op) error {
				return lease.Proclaim(ctx, []byte(o.value))
			})
		} else {
			troubled = !c.call(ctx, op{kind: renew, token: lease.Token()}, func(ctx context.Context, o *op) error {
				g, err := lease.Renew(ctx)
				o.until = ends(g)
				return err
			})
		}
		rest(ctx, c.between(c.ttl/400, c.ttl/10))
	}
	if ctx.Err() == nil && (c.random.IntN(8) == 0 || troubled && c.random.IntN(2) == 0) {
		c.left = append(c.left, lease)
		return // the lease runs out
	}
	c.call(context.WithoutCancel(ctx), op{kind: resign, token: lease.Token()}, func(ctx context.Context, _ *op) error { return lease.Resign(ctx) })
}

// call records one call on a lease, with a time limit that is sometimes too short, and reports whether its outcome
// is known.
func (c *client) call(ctx context.Context, o op, do func(context.Context, *op) error) (known bool) {
	ctx, cancel := context.WithTimeout(ctx, c.between(c.ttl/100, c.ttl/2))
	defer cancel()
	c.history.record(c.id, o, func(o *op) bool {
		err := do(ctx, o)
		if errors.Is(err, backend.ErrLost) {
			o.kind, o.value = lost, ""
			known = true
			return true
		}
		known = err == nil
		return known
	})
	return known
}

// tidy gives up what it walked away from, once the round is over: until it has run out, a session may go on for a lease that is
// held, after Close, too.
func (c *client) tidy(t testing.TB) {
	t.Helper()
	for _, l := range c.left {
		trial.Insist(t, "giving up what was left", func() error { return l.Resign(trial.Within(t)) })
	}
}

// look reads who leads.
func (c *client) look(ctx context.Context) {
	for ctx.Err() == nil {
		c.history.record(c.id, op{kind: observe}, func(o *op) bool {
			ctx, cancel := context.WithTimeout(ctx, c.ttl)
			defer cancel()
			for l, err := range c.backend.Observe(ctx, c.key) {
				o.token, o.value = l.Token, string(l.Value)
				return err == nil
			}
			return false
		})
		rest(ctx, c.between(c.ttl/200, 3*c.ttl/100))
	}
}

func (c *client) between(low, high time.Duration) time.Duration { return between(c.random, low, high) }

// ends is until when a grant lasts at least.
func ends(g backend.Grant) int64 { return g.Sent.Wall().Add(g.TTL).UnixNano() }

func between(r *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(r.Int64N(int64(high-low)+1))
}

// rest waits for d or the end of ctx.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
