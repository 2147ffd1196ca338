// Package consulurl opens elections on Consul by URL: consul://host:8500?ttl=15s. The password, where there is
// one, is the ACL token. See package backendurl for all that such a URL can say.
package consulurl

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/hustings-go/hustings/backend/backendurl"
	"github.com/hustings-go/hustings/backend/consul"
	"github.com/hustings-go/hustings/retry"
)

const (
	dialTimeout = 3 * time.Second
	idleTimeout = time.Minute
)

// Opener opens URLs that begin with consul://. Where they have no token, CONSUL_HTTP_TOKEN counts, as it does
// for all of Consul's own tools.
func Opener() backendurl.Opener {
	return backendurl.Opener{
		Scheme: "consul",
		Port:   "8500",
		Server: "127.0.0.1",
		Params: []backendurl.Param{
			{Name: "datacenter", Usage: "another datacenter than that of the agent"},
			{Name: "namespace", Usage: "namespace, of Consul Enterprise"},
			{Name: "partition", Usage: "partition, of Consul Enterprise"},
			{Name: "lock-delay", Usage: "how long nobody may have a key whose session was ended from outside"},
			{Name: "max-queries", Usage: "on how many keys a query blocks at once, each with a connection to itself"},
		},
		Example: "consul://host:8500?ttl=15s",
		Open:    open,
	}
}

func open(_ context.Context, u *backendurl.URL) (*backendurl.Store, error) {
	config, err := u.TLS()
	if err != nil {
		return nil, err
	}
	if u.User() != "" {
		return nil, retry.Permanent(errors.New("consul: there are no users; the password is the token: consul://:TOKEN@host"))
	}
	if len(u.Servers()) != 1 {
		return nil, retry.Permanent(fmt.Errorf("consul: the URL names %d servers; it names one agent, which knows the others", len(u.Servers())))
	}
	scheme := "http"
	if config != nil {
		scheme = "https"
	}
	opts := []consul.Option{}
	if name := u.Param("name"); name != "" {
		opts = append(opts, consul.WithName(name))
	}
	if u.TTL() != 0 {
		opts = append(opts, consul.WithTTL(u.TTL()))
	}
	if delay := u.Param("lock-delay"); delay != "" {
		d, err := time.ParseDuration(delay)
		if err != nil {
			return nil, retry.Permanent(errors.New("consul: lock-delay is a duration with a unit, such as 1s"))
		}
		opts = append(opts, consul.WithLockDelay(d))
	}
	if queries := u.Param("max-queries"); queries != "" {
		n, err := strconv.Atoi(queries)
		if err != nil {
			return nil, retry.Permanent(errors.New("consul: max-queries is a number, such as 64"))
		}
		opts = append(opts, consul.WithMaxQueries(n))
	}
	transport := &http.Transport{
		DialContext:     (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig: config,
		IdleConnTimeout: idleTimeout,
	}
	client, err := api.NewClient(&api.Config{
		Address:    u.Servers()[0],
		Scheme:     scheme,
		HttpClient: &http.Client{Transport: transport},
		Token:      u.Password(),
		Datacenter: u.Param("datacenter"),
		Namespace:  u.Param("namespace"),
		Partition:  u.Param("partition"),
	})
	if err != nil {
		return nil, retry.Permanent(fmt.Errorf("consul: %w", err))
	}
	b, err := consul.New(client, opts...)
	if err != nil {
		return nil, err
	}
	return &backendurl.Store{
		Backend: b,
		Free: func() error {
			transport.CloseIdleConnections()
			return nil
		},
		Inspect: func(ctx context.Context) []backendurl.Finding { return inspect(ctx, client) },
	}, nil
}

// inspect asks the agent for its version, which takes the right to read the agent.
func inspect(ctx context.Context, client *api.Client) []backendurl.Finding {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var self struct {
		Config struct{ Version, Datacenter string }
	}
	if _, err := client.Raw().Query("/v1/agent/self", &self, (&api.QueryOptions{}).WithContext(ctx)); err != nil {
		return []backendurl.Finding{{Text: "the agent", Problem: "it does not tell its version: " + err.Error()}}
	}
	return []backendurl.Finding{{Text: fmt.Sprintf("the agent is Consul %s in %s", self.Config.Version, self.Config.Datacenter)}}
}
