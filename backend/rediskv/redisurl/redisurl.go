// Package redisurl opens elections on Redis by URL: redis://user@host:6379/0?ttl=15s; with Sentinel
// redis://sentinel1,sentinel2,sentinel3?sentinel=mymaster; a cluster redis://host1,host2?cluster=true. See package
// backendurl for all that such a URL can say.
package redisurl

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/backend/backendurl"
	"github.com/hustings-go/hustings/backend/rediskv"
	"github.com/hustings-go/hustings/retry"
)

// inspectTimeout bounds the question for the version.
const inspectTimeout = 3 * time.Second

// Opener opens URLs that begin with redis://.
func Opener() backendurl.Opener {
	return backendurl.Opener{
		Scheme: "redis",
		Port:   "6379",
		Server: "127.0.0.1",
		Path:   "the number of the database (default 0)",
		Params: []backendurl.Param{
			{Name: "sentinel", Usage: "name of the master; the servers are sentinels, with a port, usually 26379"},
			{Name: "cluster", Usage: "true: the servers are some of a cluster"},
		},
		Example: "redis://user@host:6379/0?ttl=15s",
		Open:    open,
	}
}

func open(_ context.Context, u *backendurl.URL) (*backendurl.Store, error) {
	client, err := connect(u)
	if err != nil {
		return nil, retry.Permanent(fmt.Errorf("redis: %w", err))
	}
	opts := []rediskv.Option{rediskv.WithName(u.Param("name"))}
	if u.TTL() != 0 {
		opts = append(opts, rediskv.WithTTL(u.TTL()))
	}
	b, err := rediskv.New(client, opts...)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &backendurl.Store{
		Backend: b,
		Free:    client.Close,
		Inspect: func(ctx context.Context) []backendurl.Finding { return inspect(ctx, client) },
	}, nil
}

// connect makes the client of one of three kinds of Redis.
func connect(u *backendurl.URL) (redis.UniversalClient, error) {
	config, err := u.TLS()
	if err != nil {
		return nil, err
	}
	db := 0
	if path := strings.TrimPrefix(u.Path(), "/"); path != "" {
		if db, err = strconv.Atoi(path); err != nil || db < 0 {
			return nil, errors.New("the path is the number of a database, such as /0")
		}
	}
	cluster := u.Param("cluster")
	if cluster != "" && cluster != "true" && cluster != "false" {
		return nil, errors.New("cluster is true or false")
	}
	switch master := u.Param("sentinel"); {
	case master != "" && cluster == "true":
		return nil, errors.New("sentinel and cluster do not go together")
	case master != "":
		return redis.NewFailoverClient(rediskv.FailoverOptions(&redis.FailoverOptions{
			MasterName: master, SentinelAddrs: u.Servers(), Username: u.User(), Password: u.Password(), DB: db, TLSConfig: config,
		})), nil
	case cluster == "true" && db != 0:
		return nil, errors.New("a cluster has only the database 0")
	case cluster == "true":
		return redis.NewClusterClient(rediskv.ClusterOptions(&redis.ClusterOptions{
			Addrs: u.Servers(), Username: u.User(), Password: u.Password(), TLSConfig: config,
		})), nil
	case len(u.Servers()) != 1:
		return nil, fmt.Errorf("the URL names %d servers, and neither sentinel nor cluster=true", len(u.Servers()))
	default:
		return redis.NewClient(rediskv.Options(&redis.Options{
			Addr: u.Servers()[0], Username: u.User(), Password: u.Password(), DB: db, TLSConfig: config,
		})), nil
	}
}

// inspect asks for the version, and tells what no setting of ours can mend.
func inspect(ctx context.Context, client redis.UniversalClient) []backendurl.Finding {
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		return []backendurl.Finding{{Text: "the server", Problem: "it does not tell its version: " + err.Error()}}
	}
	version := "of an unknown version"
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, "redis_version:"); ok {
			version = strings.TrimSpace(v)
		}
	}
	return []backendurl.Finding{
		{Text: "the server is Redis " + version},
		{
			Text:    "Redis copies to its replicas afterwards",
			Problem: "a failover can lose a leader and its token: two may lead until the first one's lease ends, and tokens may repeat",
		},
	}
}
