package file

import "time"

// OnLook has looked called at each look at a folder that a waiting call takes. It must be called before b is
// used.
func (b *Backend) OnLook(looked func()) { b.looked = looked }

// SetClock replaces the clock that tokens come from. It must be called before b is used.
func (b *Backend) SetClock(now func() time.Time) { b.clock = now }

// Deafen takes notices away: all waiting is by looking. It must be called before b is used.
func (b *Backend) Deafen() { b.notifier.deaf = true }

// Crash does what the death of the process would: no call gets on, and the kernel takes back the locks.
func (b *Backend) Crash() {
	b.calls.Close(nil) // its callers are told something else than by a death; nobody listens to them
	b.mu.Lock()
	var held []*Lease
	for _, c := range b.standing {
		if c.lease != nil {
			held = append(held, c.lease)
		}
	}
	b.mu.Unlock()
	for _, l := range held {
		l.mu.Lock()
		if !l.gone {
			l.gone = true
			l.timer.Stop()
			_ = l.lock.Close()
			b.notifier.leave()
		}
		l.mu.Unlock()
	}
}

// Tick returns what the timer of l is about to do.
func (l *Lease) Tick() func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	round := l.round
	return func() { l.tick(round) }
}

// What the tests of the parts use.
var (
	Decode = func(data []byte) (token uint64, value []byte, err error) {
		r, err := decode(data)
		return r.Token, r.value, err
	}
	Reencode  = func(data []byte) ([]byte, error) { r, _ := decode(data); return r.encode() }
	WithValue = func(data []byte, value string) ([]byte, error) {
		r, err := decode(data)
		r.value = []byte(value)
		data, _ = r.encode()
		return data, err
	}
	LapseTicks = lapseTicks
	NextToken  = next
	TokenOf    = tokenOf
)
