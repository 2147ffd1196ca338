package etcd

import (
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hustings-go/hustings/retry"
)

const (
	// DefaultTTL is the time to live that is asked for when WithTTL is not given.
	DefaultTTL = 15 * time.Second

	// MaxTTL is the longest time to live that WithTTL takes. etcd itself takes 9,000,000,000 s
	// (clientv3.MaxLeaseTTL), which is 285 years; but a TTL is how long a key stays locked after its
	// holder crashed, so a day is already too long for nearly everybody.
	MaxTTL = 24 * time.Hour

	// MaxValueLen is the largest value that Campaign and Proclaim take, in bytes. It leaves room below
	// the server's own bound on a request (--max-request-bytes, 1.5 MiB by default) and the client's
	// (clientv3.Config.MaxCallSendMsgSize, 2 MiB by default).
	MaxValueLen = 1 << 20
)

// Option changes what New makes. The zero Option does nothing.
type Option struct {
	apply func(*Backend)
}

// WithTTL sets the time to live that is asked of etcd for the session's lease: how long a key stays
// taken after its holder was last heard of. etcd counts in whole seconds, so d must be a whole number
// of seconds, from 1 s to MaxTTL; New refuses anything else. The server may grant more than was asked:
// with its default timings 2 s where 1 s was asked (ceil(1.5 × election timeout)); a Grant tells.
func WithTTL(d time.Duration) Option {
	return Option{apply: func(b *Backend) { b.ttl = d }}
}

// WithName sets a readable name for the session. A session's identity is its lease id, which etcd makes
// up, and the layout in the store has no place for a name: the name stands in error messages only.
func WithName(name string) Option {
	return Option{apply: func(b *Backend) { b.name = name }}
}

func validateTTL(d time.Duration) error {
	const allowed = "a TTL is a whole number of seconds, from 1s to 24h"
	switch {
	case d <= 0:
		return retry.Permanent(fmt.Errorf("etcd: the TTL is %v, which is not positive; %s", d, allowed))
	case d/time.Second > clientv3.MaxLeaseTTL:
		return retry.Permanent(fmt.Errorf("etcd: the TTL is %v, and etcd takes at most %d s; %s", d, int64(clientv3.MaxLeaseTTL), allowed))
	case d > MaxTTL:
		return retry.Permanent(fmt.Errorf("etcd: the TTL is %v, which is too long; %s", d, allowed))
	case d%time.Second != 0:
		return retry.Permanent(fmt.Errorf("etcd: the TTL is %v, and etcd counts whole seconds; %s", d, allowed))
	default:
		return nil
	}
}

func validateClient(client *clientv3.Client) error {
	if client == nil {
		return retry.Permanent(errors.New("etcd: the client is nil"))
	}
	return nil
}

func validateValue(value []byte) error {
	if len(value) > MaxValueLen {
		return retry.Permanent(fmt.Errorf("the value has %d bytes, and at most %d are allowed", len(value), MaxValueLen))
	}
	return nil
}
