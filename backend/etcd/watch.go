package etcd

import "time"

// untilLook returns the time until the next look in case that a watch fell silent: one per TTL, and the same
// moment for all of a Backend who wait or observe, so that their looks are one request.
func (b *Backend) untilLook() time.Duration { return b.ttl - time.Since(b.born)%b.ttl }
