package zookeeper

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/retry"
)

const (
	// DefaultTTL is the time to live that is asked for when WithTTL is not given.
	DefaultTTL = 15 * time.Second

	// MaxTTL is the longest time to live that WithTTL takes. A server grants no more than its
	// maxSessionTimeout, 20 ticks by default.
	MaxTTL = 24 * time.Hour

	// DefaultTick is ZooKeeper's own default tickTime, assumed when WithTick is not given.
	DefaultTick = 2 * time.Second

	// MinTicks is how many ticks a TTL must have at least: a grant is shortened by one tick and by the age
	// of the last ping, and something must be left to lead with.
	MinTicks = 4

	// DefaultRoot is the node below which the elections stand when WithRoot is not given.
	DefaultRoot = "/hustings"

	// MaxValueLen is the largest value that Campaign and Proclaim take, in bytes. It leaves room for the
	// rest of a request below the server's bound (jute.maxbuffer, 1 MiB by default), beyond which the
	// server answers nothing and drops the connection, and with it everybody else's requests.
	MaxValueLen = 1000 << 10
)

// Option changes what New makes. The zero Option does nothing.
type Option struct {
	apply func(*Backend)
}

// credential is what a session is authenticated with.
type credential struct {
	scheme string
	secret []byte
}

// WithTTL sets the session timeout that is asked of ZooKeeper: how long a key stays taken after its holder
// was last heard of. It is counted in milliseconds, at least MinTicks ticks, at most MaxTTL. The server
// may grant more or less (minSessionTimeout and maxSessionTimeout, 2 and 20 ticks by default); a Grant
// goes by what was granted, and a session of less than MinTicks ticks is refused.
func WithTTL(d time.Duration) Option {
	return Option{apply: func(b *Backend) { b.ttl = d }}
}

// WithTick tells the tickTime of the servers, which they tell nobody by themselves. One that is set
// too high costs a little of each grant. One that is set too low lets a term outlive its session by the
// difference when the server that the client is connected to is cut off from its ensemble.
func WithTick(d time.Duration) Option {
	return Option{apply: func(b *Backend) { b.tick = d }}
}

// WithRoot sets the node below which the elections stand: key a/b is the node <root>/a/b. With "/" a key
// is a path of the store, which lets an election be shared with others wherever it stands.
func WithRoot(root string) Option {
	return Option{apply: func(b *Backend) { b.root = root }}
}

// WithName sets a readable name for the session. The layout in the store has no place for it: the name
// stands in error messages only.
func WithName(name string) Option {
	return Option{apply: func(b *Backend) { b.name = name }}
}

// WithDialer sets how connections are made; TLS is such a dialer, as the client has none of its own:
//
//	zookeeper.WithDialer(func(network, address string, timeout time.Duration) (net.Conn, error) {
//		ctx, cancel := context.WithTimeout(context.Background(), timeout)
//		defer cancel()
//		return (&tls.Dialer{Config: config}).DialContext(ctx, network, address)
//	})
//
// address is one of those given to New, its name not resolved, so that it can be checked against the
// server's certificate. The dialer must heed timeout.
func WithDialer(dial zk.Dialer) Option {
	return Option{apply: func(b *Backend) { b.dial = dial }}
}

// WithAuth authenticates each session, as ("digest", []byte("user:password")). It may be given more than
// once.
func WithAuth(scheme string, secret []byte) Option {
	return Option{apply: func(b *Backend) {
		b.credentials = append(b.credentials, credential{scheme, append([]byte(nil), secret...)})
	}}
}

// WithACL sets the access rights of the nodes that are created. Without it they are open to everybody,
// zk.WorldACL(zk.PermAll). Candidates need to read their own node.
func WithACL(acl ...zk.ACL) Option {
	return Option{apply: func(b *Backend) { b.acl = append([]zk.ACL(nil), acl...) }}
}

func (b *Backend) validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf("zookeeper: "+format, args...)) }
	if len(b.servers) == 0 {
		add("no servers are named")
	}
	for _, s := range b.servers {
		if strings.TrimSpace(s) == "" {
			add("the name of a server is empty")
		}
	}
	if b.tick < time.Millisecond {
		add("the tick is %v, must be at least 1ms", b.tick)
	} else if b.ttl < MinTicks*b.tick || b.ttl > MaxTTL || b.ttl%time.Millisecond != 0 {
		add("the TTL is %v; a TTL is whole milliseconds, at least %d ticks of the server, %v, and at most %v", b.ttl, MinTicks, MinTicks*b.tick, MaxTTL)
	}
	if err := validateRoot(b.root); err != nil {
		add("%w", err)
	}
	if b.dial == nil {
		add("the dialer is nil")
	}
	if len(b.acl) == 0 {
		add("the ACL is empty")
	}
	return retry.Permanent(errors.Join(errs...))
}

// validateRoot allows "/" and what keeps the grammar of keys after a slash.
func validateRoot(root string) error {
	switch {
	case root == "/":
		return nil
	case !strings.HasPrefix(root, "/") || path.Clean(root) != root:
		return fmt.Errorf("the root %q is not an absolute path", root)
	default:
		return backend.ValidateKey(root[1:])
	}
}

func validateValue(value []byte) error {
	if len(value) > MaxValueLen {
		return retry.Permanent(fmt.Errorf("the value has %d bytes, and at most %d are allowed", len(value), MaxValueLen))
	}
	return nil
}
