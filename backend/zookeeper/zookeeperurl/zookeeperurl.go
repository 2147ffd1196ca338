// Package zookeeperurl opens elections on ZooKeeper by URL: zookeeper://host1,host2,host3/root?ttl=15s. User
// and password are those of the scheme digest. See package backendurl for all that such a URL can say.
package zookeeperurl

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend/backendurl"
	"github.com/hustings-go/hustings/backend/zookeeper"
	"github.com/hustings-go/hustings/retry"
)

// inspectTimeout bounds the question for the version, to each server.
const inspectTimeout = 3 * time.Second

// Opener opens URLs that begin with zookeeper://.
func Opener() backendurl.Opener {
	return backendurl.Opener{
		Scheme: "zookeeper",
		Port:   "2181",
		Server: "127.0.0.1",
		Path:   "the node below which the elections stand (default " + zookeeper.DefaultRoot + ")",
		Params: []backendurl.Param{
			{Name: "tick", Usage: "tickTime of the servers (default 2s); a TTL has at least four"},
			{Name: "acl", Usage: "creator: only the user of the URL may touch what is written (default: everybody)"},
		},
		Example: "zookeeper://user@host1,host2,host3/hustings?ttl=15s",
		Open:    open,
	}
}

func open(_ context.Context, u *backendurl.URL) (*backendurl.Store, error) {
	config, err := u.TLS()
	if err != nil {
		return nil, err
	}
	if (u.User() == "") != (u.Password() == "") {
		return nil, retry.Permanent(errors.New("zookeeper: a user name and a password go together; one of them is missing"))
	}
	opts := []zookeeper.Option{zookeeper.WithName(u.Param("name"))}
	if u.TTL() != 0 {
		opts = append(opts, zookeeper.WithTTL(u.TTL()))
	}
	if u.Path() != "" {
		opts = append(opts, zookeeper.WithRoot(u.Path()))
	}
	if u.User() != "" {
		opts = append(opts, zookeeper.WithAuth("digest", []byte(u.User()+":"+u.Password())))
	}
	if config != nil {
		opts = append(opts, zookeeper.WithDialer(func(network, address string, timeout time.Duration) (net.Conn, error) {
			//nolint:noctx // the client that calls this has no context, only the timeout
			return tls.DialWithDialer(&net.Dialer{Timeout: timeout}, network, address, config)
		}))
	}
	if tick := u.Param("tick"); tick != "" {
		d, err := time.ParseDuration(tick)
		if err != nil {
			return nil, retry.Permanent(errors.New("zookeeper: tick is a duration with a unit, such as 2s"))
		}
		opts = append(opts, zookeeper.WithTick(d))
	}
	switch u.Param("acl") {
	case "":
	case "creator":
		if u.User() == "" {
			return nil, retry.Permanent(errors.New("zookeeper: acl=creator needs a user"))
		}
		opts = append(opts, zookeeper.WithACL(zk.AuthACL(zk.PermAll)...))
	default:
		return nil, retry.Permanent(errors.New("zookeeper: acl is creator, or is left out"))
	}
	b, err := zookeeper.New(u.Servers(), opts...)
	if err != nil {
		return nil, err
	}
	store := &backendurl.Store{Backend: b}
	if config == nil { // the question for the version cannot be asked through TLS
		store.Inspect = func(ctx context.Context) []backendurl.Finding { return inspect(ctx, u.Servers()) }
	}
	return store, nil
}

// inspect asks each server for its version.
func inspect(ctx context.Context, servers []string) []backendurl.Finding {
	var all []backendurl.Finding
	for _, server := range servers {
		version, err := ask(ctx, server)
		if err != nil {
			all = append(all, backendurl.Finding{Text: "the server " + server, Problem: "it does not tell its version: " + err.Error()})
			continue
		}
		all = append(all, backendurl.Finding{Text: fmt.Sprintf("the server %s is ZooKeeper %s", server, version)})
	}
	return all
}

// ask sends the only one of the four-letter words that is on by default. (The client's FLWSrvr cannot read the
// answers of today's servers.)
func ask(ctx context.Context, server string) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", server)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // it was only asked
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	if _, err := io.WriteString(conn, "srvr"); err != nil {
		return "", err
	}
	const longest = 4 << 10
	answer, err := io.ReadAll(io.LimitReader(conn, longest))
	if err != nil {
		return "", err
	}
	_, rest, found := strings.Cut(string(answer), "Zookeeper version: ")
	version, _, _ = strings.Cut(rest, "-")
	if !found || len(version) > len("99.99.99") {
		return "", errors.New("its answer cannot be read")
	}
	return version, nil
}
