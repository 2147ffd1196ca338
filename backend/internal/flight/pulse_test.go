package flight_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/flight"
	"github.com/hustings-go/hustings/retry"
)

const (
	ttl     = 15 * time.Second
	transit = 10 * time.Millisecond // what a renewal takes
)

// session is one that pulses keep alive.
type session struct {
	slot *flight.Slot

	mu    sync.Mutex
	grant backend.Grant
	over  bool
	sent  []time.Duration // when each renewal was sent, since the beginning
	fail  func(n int) error
}

// newSession makes a session whose renewals fail, counted from 1, as fail tells.
func newSession(fail func(n int) error) *session {
	s := &session{grant: backend.Grant{Sent: backend.Now(), TTL: ttl}, fail: fail}
	began := time.Now()
	s.slot = flight.New(func(context.Context) error {
		sent, at := backend.Now(), since(began)
		time.Sleep(transit)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sent = append(s.sent, at)
		if err := s.fail(len(s.sent)); err != nil {
			return err
		}
		s.grant.Sent = sent
		return nil
	}, time.Second)
	return s
}

// since is virtual time, less what the machine's own clock of suspended time puts in.
func since(began time.Time) time.Duration { return time.Since(began).Round(time.Millisecond) }

func (s *session) promised() (backend.Grant, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grant, s.over
}

func (s *session) pulse() *flight.Pulse {
	return flight.NewPulse(s.slot, s.promised, func(err error) error { return err })
}

// wait waits as a candidate does, until ctx ends or Check returns an error.
func (s *session) wait(ctx context.Context) error {
	p := s.pulse()
	defer p.Stop()
	for {
		select {
		case <-p.Due():
			p.Send(ctx)
		case <-p.Answered():
			if err := p.Check(); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func never(int) error { return nil }

func TestThreeRenewalsPerTTLHoweverManyWait(t *testing.T) {
	for _, n := range []int{1, 100} {
		synctest.Test(t, func(t *testing.T) {
			s := newSession(never)
			ctx, cancel := context.WithTimeout(t.Context(), 4*ttl+time.Second)
			defer cancel()
			var all sync.WaitGroup
			for i := range n {
				all.Go(func() {
					select { // not all come at the same moment
					case <-time.After(time.Duration(i) * ttl / 100):
					case <-ctx.Done():
					}
					if err := s.wait(ctx); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if len(s.sent) != 12 {
				t.Errorf("%d candidates renewed at %v, want 12 renewals in 4 TTLs", n, s.sent)
			}
			for i, at := range s.sent {
				if want := time.Duration(i+1) * ttl / 3; at != want {
					t.Errorf("renewal %d was sent after %v, want %v", i, at, want)
				}
			}
		})
	}
}

// What others on the session have sent counts.
func TestAnothersRenewalCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSession(never)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- s.wait(ctx) }()
		time.Sleep(4 * time.Second)
		if err := s.slot.Board(ctx).Await(ctx); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(s.sent) != 2 || s.sent[0] != 4*time.Second || s.sent[1] != 9*time.Second {
			t.Errorf("renewed at %v, want at 4 s and 9 s", s.sent)
		}
	})
}

func TestWhichFailuresAreBorne(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		over bool
		ends time.Duration // with the failure; 0: not within two TTLs
	}{
		"one that passes":       {err: errAnswer},
		"one that no try mends": {err: retry.Permanent(errAnswer), ends: ttl/3 + transit},
		"a refusal":             {err: fmt.Errorf("%w: %w", backend.ErrDenied, errAnswer), ends: ttl/3 + transit},
		"loss of the session":   {err: errAnswer, over: true, ends: ttl/3 + transit},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s *session
				s = newSession(func(n int) error {
					if n > 1 {
						return nil
					}
					s.over = tt.over
					return tt.err
				})
				ctx, cancel := context.WithTimeout(t.Context(), 2*ttl)
				defer cancel()
				began := time.Now()
				err := s.wait(ctx)
				if took := since(began); tt.ends == 0 && err != nil || tt.ends > 0 && (!errors.Is(err, errAnswer) || took != tt.ends) {
					t.Errorf("ended after %v with %v", took, err)
				}
			})
		})
	}
}

func TestTwoThirdsOfATTLOfSilenceAreNotBorne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSession(func(int) error { return errAnswer })
		began := time.Now()
		if err := s.wait(t.Context()); !errors.Is(err, errAnswer) || since(began) != ttl*2/3+transit {
			t.Errorf("ended after %v with %v", since(began), err)
		}
	})
}

func TestStopLeavesTheRenewalToTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		slot := flight.New(s.do, 0)
		grant := backend.Grant{Sent: backend.Now(), TTL: ttl}
		p := flight.NewPulse(slot, func() (backend.Grant, bool) { return grant, false }, func(err error) error { return err })
		if p.Answered() != nil {
			t.Error("there is a renewal before any was sent")
		}
		for p.Answered() == nil { // it may be early by nanoseconds, and then is due again
			<-p.Due()
			p.Send(t.Context())
		}
		p.Send(t.Context()) // which changes nothing
		if p.Answered() == nil {
			t.Error("the renewal in the air was forgotten")
		}
		other := ask(t.Context(), slot)
		p.Stop()
		nothing(t, "the other's renewal", other)
		s.answers <- nil
		if err := <-other; err != nil || s.requests.Load() != 1 {
			t.Errorf("%d renewals, answered %v", s.requests.Load(), err)
		}
		p.Stop() // again, which changes nothing
	})
}
