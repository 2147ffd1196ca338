package backendtest

import (
	"context"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// task is a call under way beside the case. It is cancelled at the end of the case and must then return.
type task[T any] struct {
	k      *kit
	what   string
	cancel context.CancelFunc
	done   chan struct{}
	value  T     // valid when done is closed
	err    error // as well
}

func begin[T any](k *kit, what string, f func(ctx context.Context) (T, error)) *task[T] {
	k.Helper()
	ctx, cancel := context.WithCancel(k.Context())
	t := &task[T]{k: k, what: what, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		t.value, t.err = f(ctx)
	}()
	k.Cleanup(func() {
		cancel()
		select {
		case <-t.done:
		case <-k.after(k.prompt()):
			k.Errorf("%s did not return within %v after its context had ended", what, k.prompt())
		}
	})
	return t
}

// wait returns the outcome, which must come promptly.
func (t *task[T]) wait() (T, error) {
	t.k.Helper()
	return t.within(t.k.prompt())
}

func (t *task[T]) within(d time.Duration) (T, error) {
	t.k.Helper()
	select {
	case <-t.done:
	case <-t.k.after(d):
		t.k.Fatalf("%s: no outcome within %v", t.what, d)
	}
	return t.value, t.err
}

// must returns the result of a call that must succeed promptly.
func (t *task[T]) must() T {
	t.k.Helper()
	return t.mustWithin(t.k.prompt())
}

func (t *task[T]) mustWithin(d time.Duration) T {
	t.k.Helper()
	v, err := t.within(d)
	if err != nil {
		t.k.Fatalf("%s: %v", t.what, err)
	}
	return v
}

// ended reports whether the outcome is there.
func (t *task[T]) ended() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// stillRuns fails the case if the call has come to an end.
func (t *task[T]) stillRuns() {
	t.k.Helper()
	if t.ended() {
		t.k.Fatalf("%s returned (%v, %v), must still wait", t.what, t.value, t.err)
	}
}

// result is the value of a call that has succeeded by now, else the zero value.
func (t *task[T]) result() (v T) {
	if t.ended() && t.err == nil {
		return t.value
	}
	return v
}

// observer follows a key beside the case, and checks what is true of every observation.
type observer struct {
	*task[struct{}]
	leaders chan backend.Leader
}

func (k *kit) observe(b backend.Backend, key string) *observer {
	k.Helper()
	o := &observer{leaders: make(chan backend.Leader)}
	o.task = begin(k, "Observe "+key, func(ctx context.Context) (struct{}, error) {
		var failed error
		var newest uint64
		for l, err := range b.Observe(ctx, key) {
			switch {
			case failed != nil:
				k.Errorf("Observe yielded (%v, %v) after the error %v, which must come last", l, err, failed)
			case err != nil && !l.Vacant():
				k.Errorf("Observe yielded the leader %v with the error %v, must be the zero Leader", l, err)
			case !l.Vacant() && l.Token < newest:
				k.Errorf("Observe yielded token %d after %d", l.Token, newest)
			}
			if err != nil {
				failed = err
				continue
			}
			newest = max(newest, l.Token)
			select {
			case o.leaders <- l:
			case <-ctx.Done():
			}
		}
		return struct{}{}, failed
	})
	return o
}

// next returns the next observation.
func (o *observer) next() backend.Leader {
	o.k.Helper()
	select {
	case l := <-o.leaders:
		return l
	case <-o.done:
		o.k.Fatalf("%s ended with error %v, must go on", o.what, o.err)
	case <-o.k.after(o.k.prompt()):
		o.k.Fatalf("%s: nothing new within %v", o.what, o.k.prompt())
	}
	return backend.Leader{}
}

// until takes observations until one is right. Those between may be anything that Observe checks.
func (o *observer) until(right func(l backend.Leader) bool) backend.Leader {
	o.k.Helper()
	for {
		if l := o.next(); right(l) {
			return l
		}
	}
}

func (o *observer) untilVacant() {
	o.k.Helper()
	if l := o.until(backend.Leader.Vacant); len(l.Value) != 0 {
		o.k.Errorf("the vacant Leader has the value %q", l.Value)
	}
}

// untilTerm takes observations until the term l is seen with value.
func (o *observer) untilTerm(l backend.Lease, value string) {
	o.k.Helper()
	o.until(func(seen backend.Leader) bool { return seen.Token == l.Token() && string(seen.Value) == value })
}

// wantLeader checks that a fresh observation soon shows the term l with value.
func (k *kit) wantLeader(b backend.Backend, key string, l backend.Lease, value string) {
	k.Helper()
	o := k.observe(b, key)
	o.untilTerm(l, value)
	o.cancel()
	o.mustEnd()
}

// wantVacant checks that a fresh observation soon shows that nobody leads.
func (k *kit) wantVacant(b backend.Backend, key string) {
	k.Helper()
	o := k.observe(b, key)
	o.untilVacant()
	o.cancel()
	o.mustEnd()
}

// mustEnd checks that the loop ends, without an error.
func (o *observer) mustEnd() {
	o.k.Helper()
	if _, err := o.wait(); err != nil {
		o.k.Errorf("%s ended with the error %v, must end silently with its context", o.what, err)
	}
}
