package rediskv

import (
	"math/rand/v2"
	"strings"
	"time"
)

// lookAnyway is for how many TTLs messages alone may keep who waits or observes from looking.
const lookAnyway = 10

// outlook is when the lease of whoever leads ends, as who waits or observes knows it: by what the store said at the last
// look, and by the messages since. It is guarded by Backend.mu.
type outlook struct {
	b      *Backend
	holder string
	looked time.Time
	ends   time.Time
}

// seen takes what the store said. It returns how long to wait for the end of the lease.
func (o *outlook) seen(r record) (wait time.Duration) {
	left := r.left
	if left < 0 {
		left = o.b.ttl
	}
	o.holder, o.looked = r.holder, time.Now()
	o.ends = o.looked.Add(left)
	return o.b.until(left)
}

// about reports whether a renewal is by whom the last look saw: channels, unlike keys, are those of all databases of a
// server.
func (o *outlook) about(ev event) bool {
	return ev.by == o.holder[strings.LastIndexByte(o.holder, '/')+1:]
}

// told takes a message that a term was won or renewed, and returns how long to wait for the
// end of its lease. A renewal moves that by what the lease lacked, so that one that is told late lengthens nothing; and
// whatever is told, the wait ends within a TTL, and some time after the last look.
func (o *outlook) told(ev event) (wait time.Duration) {
	now := time.Now()
	ends := now.Add(ev.ttl)
	if shifted := o.ends.Add(ev.ttl - ev.left); ev.kind == renewed && shifted.Before(ends) {
		ends = shifted
	}
	o.ends = ends
	return o.b.until(max(0, min(ends.Sub(now), o.looked.Add(lookAnyway*o.b.ttl).Sub(now))))
}

// until is how long to wait for a lease that has left to run, which at most one TTL: a little
// longer, so that it is over then, and not all who wait ask at once.
func (b *Backend) until(left time.Duration) time.Duration {
	return min(left, b.ttl) + time.Millisecond + rand.N(min(b.ttl/50, maxSpread))
}
