package rediskv

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/retry"
)

// Options returns a copy of o with what New asks of a client: requests that end with their context's
// deadline (ContextTimeoutEnabled), and that are not repeated behind the caller's back (MaxRetries, and
// for dialing DialerRetries). The rest of o is kept.
func Options(o *redis.Options) *redis.Options {
	sound := *o
	sound.ContextTimeoutEnabled, sound.MaxRetries, sound.DialerRetries = true, -1, 1
	return &sound
}

// FailoverOptions is [Options] for a client of Redis Sentinel.
func FailoverOptions(o *redis.FailoverOptions) *redis.FailoverOptions {
	sound := *o
	sound.ContextTimeoutEnabled, sound.MaxRetries, sound.DialerRetries = true, -1, 1
	return &sound
}

// ClusterOptions is [Options] for a client of Redis Cluster. Redirections stay allowed: they are how
// a cluster works. On some errors such a client repeats a request when it follows one, which does no harm
// here, and ends with the context.
func ClusterOptions(o *redis.ClusterOptions) *redis.ClusterOptions {
	sound := *o
	sound.ContextTimeoutEnabled, sound.MaxRetries, sound.DialerRetries = true, -1, 1
	sound.ReadOnly, sound.RouteByLatency, sound.RouteRandomly = false, false, false
	return &sound
}

// UniversalOptions is [Options] for redis.NewUniversalClient.
func UniversalOptions(o *redis.UniversalOptions) *redis.UniversalOptions {
	sound := *o
	sound.ContextTimeoutEnabled, sound.MaxRetries, sound.DialerRetries = true, -1, 1
	sound.ReadOnly, sound.RouteByLatency, sound.RouteRandomly = false, false, false
	return &sound
}

// validateClient refuses a client with which a Backend would not keep its promises, as far as its options can
// be seen.
func validateClient(client redis.UniversalClient) error {
	refuse := func(format string, args ...any) error {
		return retry.Permanent(fmt.Errorf("rediskv: "+format, args...))
	}
	if client == nil || reflect.ValueOf(client).Kind() == reflect.Pointer && reflect.ValueOf(client).IsNil() {
		return retry.Permanent(errors.New("rediskv: the client is nil"))
	}
	const remedy = "; rediskv.Options, FailoverOptions, ClusterOptions and UniversalOptions set what is needed"
	var bounded bool
	var retries int
	switch c := client.(type) {
	case *redis.Client:
		bounded, retries = c.Options().ContextTimeoutEnabled, c.Options().MaxRetries
	case *redis.ClusterClient:
		o := c.Options()
		bounded, retries = o.ContextTimeoutEnabled, o.MaxRetries
		if o.ReadOnly || o.RouteByLatency || o.RouteRandomly {
			return refuse("the client may read from replicas (ReadOnly, RouteByLatency, RouteRandomly), which lag behind%s", remedy)
		}
	case *redis.Ring:
		return refuse("a redis.Ring is not supported: it moves keys, and with them leases, when a server does not answer")
	case *redis.AutoPipeliner:
		return refuse("a redis.AutoPipeliner is not supported: give New the client that it was made from")
	default:
		return nil
	}
	switch {
	case !bounded:
		return refuse("the client's ContextTimeoutEnabled is false, so that its requests would go on after their context has ended%s", remedy)
	case retries > 0:
		return refuse("the client's MaxRetries is %d, so that it would repeat writes whose fate is not known, where -1 is needed%s", retries, remedy)
	default:
		return nil
	}
}
