package etcd

import "time"

// untilLook returns the time until the next look in case that a watch fell silent: one per TTL, and the same
// moment for all of a Backend who wait or observe, so that their looks are one request.
func (b *Backend) untilLook() time.Duration { return b.ttl - time.Since(b.born)%b.ttl }

// observed counts those who observe, and has them look for as long as there are any. b.mu is held.
func (b *Backend) observed(more int) {
	b.observers += more
	switch {
	case b.observers == 0:
		b.look.Stop()
	case b.look == nil:
		b.look = time.AfterFunc(b.untilLook(), b.lookAround)
	case b.observers == more:
		b.look.Reset(b.untilLook())
	}
}

// lookAround has all who observe look. Who leads looks with each renewal.
func (b *Backend) lookAround() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.observers == 0 {
		return
	}
	for v, s := range b.vigils {
		if s == nil {
			v.lookNow()
		}
	}
	b.look.Reset(b.untilLook())
}
