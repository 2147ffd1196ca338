package backendtest

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// kit is what a case works with: its T, its key, and calls that fail the case instead of hanging.
type kit struct {
	testing.TB
	h      Harness
	key    string
	killed map[backend.Backend]bool
	told   bool // what Observe and Wait would be asked for is told
}

func newKit(t *testing.T, h Harness, key string) *kit {
	return &kit{TB: t, h: h, key: key, killed: make(map[backend.Backend]bool)}
}

// open opens a session whose leases do not run out while the case runs.
func (k *kit) open() backend.Backend {
	k.Helper()
	return k.openTTL(k.h.TTL)
}

// openShort opens a session whose leases run out soon.
func (k *kit) openShort() backend.Backend {
	k.Helper()
	return k.openTTL(k.h.MinTTL)
}

func (k *kit) openTTL(ttl time.Duration) backend.Backend {
	k.Helper()
	b := k.h.Open(k.TB, ttl)
	if b == nil {
		k.Fatal("Harness.Open returned nil")
	}
	if b.TTL() < ttl {
		k.Fatalf("TTL() of a session opened with %v is %v", ttl, b.TTL())
	}
	k.Cleanup(func() {
		if err := k.closing(b); err != nil && !k.killed[b] {
			k.Errorf("Close at the end of the case: %v", err)
		}
	})
	if !k.told {
		return b
	}
	teller, ok := b.(backend.LeaderTeller)
	if !ok {
		k.Fatalf("the harness declares that the store tells, and a session, a %T, is no backend.LeaderTeller", b)
	}
	return asked{teller, k}
}

// closing closes a session beside the case, so that a Close that hangs is told and not endured.
func (k *kit) closing(b backend.Backend) error {
	k.Helper()
	done := make(chan error, 1)
	go func() { done <- b.Close() }()
	select {
	case err := <-done:
		return err
	case <-k.after(k.prompt()):
		k.Errorf("Close did not return within %v", k.prompt())
		return nil
	}
}

func (k *kit) close(b backend.Backend) {
	k.Helper()
	if err := k.closing(b); err != nil {
		k.Fatalf("Close: %v", err)
	}
}

func (k *kit) kill(b backend.Backend) {
	k.Helper()
	k.killed[b] = true
	k.h.Kill(k.TB, b)
}

// prompt is how long anything may take that does not have to wait for a lease to run out. It is so long
// that no healthy store misses it, and so short that no lease of open has run out within it.
func (k *kit) prompt() time.Duration { return k.h.TTL / 2 }

// patience is how long an expiry may take. Stores promise no upper bound; some take twice the TTL.
func (k *kit) patience() time.Duration { return 4*k.h.MinTTL + 30*time.Second }

// after is time.After with a timer that ends with the case.
func (k *kit) after(d time.Duration) <-chan time.Time {
	timer := time.NewTimer(d)
	k.Cleanup(func() { timer.Stop() })
	return timer.C
}

// pause lets time pass.
func (k *kit) pause(d time.Duration) { <-k.after(d) }

// settle lets what was begun get under way. What a case finds never depends on it, only how often it
// meets the order of events that it is after.
func (k *kit) settle() { k.pause(100 * time.Millisecond) }

// bounded returns a context for one call, which also serves in a cleanup.
func (k *kit) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(k.Context()), k.prompt())
}

// campaign stands for key beside the case. What it wins is resigned at the end of the case.
func (k *kit) campaign(b backend.Backend, key, value string) *task[backend.Lease] {
	k.Helper()
	var c *task[backend.Lease]
	k.Cleanup(func() { // runs after the cleanup of begin, which ends the task
		if l := c.result(); l != nil && !k.killed[b] {
			ctx, cancel := k.bounded()
			defer cancel()
			_, err := patiently(func(ctx context.Context) (struct{}, error) { return struct{}{}, l.Resign(ctx) })(ctx)
			if err != nil {
				k.Errorf("Resign at the end of the case: %v", err)
			}
		}
	})
	c = begin(k, "Campaign "+key, patiently(func(ctx context.Context) (backend.Lease, error) {
		l, err := b.Campaign(ctx, key, []byte(value))
		if (l == nil) == (err == nil) {
			k.Errorf("Campaign returned lease %v and error %v, must be one of both", l, err)
		}
		return l, err
	}))
	return c
}

// win campaigns for a key that is vacant, or will be promptly.
func (k *kit) win(b backend.Backend, key, value string) backend.Lease {
	k.Helper()
	l := k.campaign(b, key, value).must()
	k.checkToken(l.Token())
	return l
}

// patiently repeats a call that must work when a single request of it was not answered within the backend's
// own bound: that is a slow machine, and says nothing about the backend.
func patiently[T any](f func(context.Context) (T, error)) func(context.Context) (T, error) {
	return func(ctx context.Context) (v T, err error) {
		const tries = 5
		for range tries {
			if v, err = f(ctx); ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
				break
			}
		}
		return v, err
	}
}

func (k *kit) checkToken(token uint64) {
	k.Helper()
	if token < 1 || token > math.MaxInt64 {
		k.Errorf("token %d, must be from 1 to MaxInt64", token)
	}
}

// resign gives a term up, which must work.
func (k *kit) resign(l backend.Lease) {
	k.Helper()
	k.must("Resign", l.Resign)
}

// renew renews a term that must still be held.
func (k *kit) renew(l backend.Lease) backend.Grant {
	k.Helper()
	return begin(k, "Renew", patiently(l.Renew)).must()
}

func (k *kit) proclaim(l backend.Lease, value string) {
	k.Helper()
	k.must("Proclaim", func(ctx context.Context) error { return l.Proclaim(ctx, []byte(value)) })
}

// do makes one call that must come to an end promptly.
func (k *kit) do(what string, f func(ctx context.Context) error) error {
	k.Helper()
	_, err := begin(k, what, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) }).wait()
	return err
}

func (k *kit) must(what string, f func(ctx context.Context) error) {
	k.Helper()
	begin(k, what, patiently(func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })).must()
}

// wantErr checks that err is want.
func (k *kit) wantErr(what string, err, want error) {
	k.Helper()
	if !errors.Is(err, want) {
		k.Errorf("%s: error %v, want one that wraps %q", what, err, want)
	}
}

// wantNamed checks that the message of err tells which key it is about.
func (k *kit) wantNamed(err error, key string) {
	k.Helper()
	if err != nil && !strings.Contains(err.Error(), key) {
		k.Errorf("error %q does not name the key %q", err, key)
	}
}

// wantLost checks that a term that is over is told so by every call.
func (k *kit) wantLost(l backend.Lease) {
	k.Helper()
	_, err := begin(k, "Renew", patiently(l.Renew)).wait()
	k.wantErr("Renew of a term that is over", err, backend.ErrLost)
	_, err = begin(k, "Proclaim", patiently(func(ctx context.Context) (struct{}, error) {
		return struct{}{}, l.Proclaim(ctx, []byte("from the grave"))
	})).wait()
	k.wantErr("Proclaim of a term that is over", err, backend.ErrLost)
	k.must("Resign of a term that is over", l.Resign)
}
