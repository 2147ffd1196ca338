// Package etcdurl opens elections on etcd by URL: etcd://user@host:2379,host2:2379?ttl=15s. See package
// backendurl for all that such a URL can say.
package etcdurl

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/hustings-go/hustings/backend/backendurl"
	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/retry"
)

const (
	dialTimeout = 3 * time.Second // to log in; requests have the backend's own bounds
	// A server that vanished is noticed, and another one is asked, after these two. etcd hangs up on who
	// probes more often than every 5 s.
	probeEvery  = 6 * time.Second
	probeAnswer = 2 * time.Second
)

// Opener opens URLs that begin with etcd://.
func Opener() backendurl.Opener {
	return backendurl.Opener{
		Scheme:  "etcd",
		Port:    "2379",
		Server:  "127.0.0.1",
		Example: "etcd://user@host:2379,host2:2379?ttl=15s",
		Open:    open,
	}
}

func open(ctx context.Context, u *backendurl.URL) (*backendurl.Store, error) {
	config, err := u.TLS()
	if err != nil {
		return nil, err
	}
	if (u.User() == "") != (u.Password() == "") {
		return nil, retry.Permanent(errors.New("etcd: a user name and a password go together; one of them is missing"))
	}
	scheme := "http://"
	if config != nil {
		scheme = "https://"
	}
	var endpoints []string
	for _, s := range u.Servers() {
		endpoints = append(endpoints, scheme+s)
	}
	var dial []grpc.DialOption
	if config != nil && config.ServerName != "" {
		// The client verifies the server under the address's name, whatever the config says (its resolver, and grpc's
		// NewTLS). An option given here replaces the credentials that it makes of the config.
		dial = append(dial, grpc.WithTransportCredentials(named{credentials.NewTLS(config), config.ServerName}))
	}
	client, err := clientv3.New(clientv3.Config{
		Context:              context.WithoutCancel(ctx), // the client lives on when it is open
		Endpoints:            endpoints,
		Username:             u.User(),
		Password:             u.Password(),
		TLS:                  config,
		DialOptions:          dial,
		DialTimeout:          dialTimeout,
		DialKeepAliveTime:    probeEvery,
		DialKeepAliveTimeout: probeAnswer,
		Logger:               zap.NewNop(),
	})
	if err != nil {
		return nil, refused(err)
	}
	opts := []etcd.Option{etcd.WithName(u.Param("name"))}
	if u.TTL() != 0 {
		opts = append(opts, etcd.WithTTL(u.TTL()))
	}
	b, err := etcd.New(client, opts...)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &backendurl.Store{
		Backend: b,
		Free:    client.Close,
		Inspect: func(ctx context.Context) []backendurl.Finding { return inspect(ctx, client) },
	}, nil
}

// named verifies every server under one name.
type named struct {
	credentials.TransportCredentials
	name string
}

func (n named) ClientHandshake(ctx context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return n.TransportCredentials.ClientHandshake(ctx, n.name, conn)
}

func (n named) Clone() credentials.TransportCredentials {
	return named{n.TransportCredentials.Clone(), n.name}
}

// refused is the error of a login, the only request of the opening.
func refused(err error) error {
	if errors.Is(rpctypes.Error(err), rpctypes.ErrAuthFailed) {
		return retry.Permanent(fmt.Errorf("etcd: log in: %w", err))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("etcd: log in: no server answered within %v: %w", dialTimeout, err)
	}
	return fmt.Errorf("etcd: log in: %w", err)
}

// inspect asks each server for its version.
func inspect(ctx context.Context, client *clientv3.Client) []backendurl.Finding {
	var all []backendurl.Finding
	for _, endpoint := range client.Endpoints() {
		bounded, cancel := context.WithTimeout(ctx, dialTimeout)
		resp, err := client.Status(bounded, endpoint)
		cancel()
		if err != nil {
			all = append(all, backendurl.Finding{Text: "the server " + endpoint, Problem: "it does not tell its version: " + err.Error()})
			continue
		}
		f := backendurl.Finding{Text: fmt.Sprintf("the server %s is etcd %s", endpoint, resp.Version)}
		if old(resp.Version) {
			f.Problem = "a paused leader of this version can end leases that were renewed; run 3.5.28, 3.6.9 or later (etcd-io/etcd#15247)"
		}
		if len(resp.Errors) > 0 {
			f.Problem = strings.Join(append(resp.Errors, f.Problem), "; ")
		}
		all = append(all, f)
	}
	return all
}

// old reports whether a version ends leases too early (see package etcd). One that cannot be read is not
// said to be.
func old(version string) bool {
	core, _, _ := strings.Cut(version, "-")
	var v [3]int
	for i, part := range strings.SplitN(core, ".", len(v)) {
		n, err := strconv.Atoi(part)
		if err != nil {
			return false
		}
		v[i] = n
	}
	switch {
	case v[0] != 3:
		return v[0] < 3
	case v[1] == 4:
		return v[2] < 31
	case v[1] == 5:
		return v[2] < 13
	default:
		return v[1] < 4
	}
}
