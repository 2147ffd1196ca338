//go:build unix

package stores

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/rediskv"
	"github.com/hustings-go/hustings/internal/faults"
	"github.com/hustings-go/hustings/internal/servers"
)

// redisTTL could be shorter, but is the same as etcd's, so that figures can be compared.
const redisTTL = 2 * time.Second

// redisStore is one server that writes to its append-only file before it answers: it forgets nothing.
func redisStore() Store {
	return Store{
		Name:     "redis",
		TTL:      redisTTL,
		Expiry:   redisTTL + 100*time.Millisecond, // those who wait look again a little later, each at a time of its own
		Members:  1,
		Recovery: 2 * time.Second, // to read the file
		WentBack: redisWentBack,
		Standing: redisStanding,
		Open:     openRedis,
		Start:    startRedis,
	}
}

// redisStanding is a connection for events each, and the leader's lease.
func redisStanding(n int) int { return n + 1 }

func redisWentBack(err error) bool { return errors.Is(err, rediskv.ErrDataLost) }

// hush keeps the client from reporting each connection that is broken.
var hush = sync.OnceFunc(func() { redis.SetLogger(quiet{}) })

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// processName is what the connections and records of this process are called.
func processName() string { return namePrefix + strconv.Itoa(os.Getpid()) }

const namePrefix = "process-"

func openRedis(_ context.Context, ways []Way, ttl time.Duration) (backend.Backend, func(), error) {
	hush()
	client := redis.NewClient(rediskv.Options(&redis.Options{Addr: ways[0].Addr, ClientName: processName()}))
	return redisSession(client, ttl)
}

func redisSession(client redis.UniversalClient, ttl time.Duration) (backend.Backend, func(), error) {
	done := func() { _ = client.Close() }
	b, err := rediskv.New(client, rediskv.WithTTL(ttl), rediskv.WithName(processName()))
	if err != nil {
		done()
		return nil, nil, err
	}
	return b, done, nil
}

// redisServer is Redis with an operator's client, whatever that knows of how many servers there are.
type redisServer struct {
	members []faults.Server
	client  *redis.Client
}

func startRedis(t testing.TB, _ int) Cluster {
	t.Helper()
	hush()
	server := servers.StartRedis(t)
	client := redis.NewClient(&redis.Options{Addr: server.Endpoint(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = client.Close() })
	return &redisServer{members: []faults.Server{server}, client: client}
}

func (s *redisServer) Members() []faults.Server { return s.members }

func (s *redisServer) Known(i, n int) []string { return around(s.members, i, n) }

const leaseSuffix = "}:lease"

// Records lists the lease, and then who listens and does not hold it: a candidate that waits has nothing
// else in the store.
func (s *redisServer) Records(ctx context.Context, key string) ([]Record, error) {
	lease, err := s.client.HGetAll(ctx, "{"+key+leaseSuffix).Result()
	if err != nil {
		return nil, err
	}
	var records []Record
	if len(lease) > 0 {
		token, err := strconv.ParseUint(lease["token"], 10, 64)
		if err != nil {
			return nil, err
		}
		records = append(records, Record{Path: "{" + key + leaseSuffix, Token: token, Session: lease["holder"]})
	}
	listeners, err := s.listeners(ctx)
	leader, _, _ := strings.Cut(lease["holder"], "/")
	for id, name := range listeners {
		if name != leader && name != processName() { // which is our observers'
			records = append(records, Record{Session: id})
		}
	}
	return records, err
}

// listeners returns the connections for events, by id, and whose they are.
func (s *redisServer) listeners(ctx context.Context) (map[string]string, error) {
	list, err := s.client.Do(ctx, "client", "list", "type", "pubsub").Text()
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for line := range strings.Lines(list) {
		fields := map[string]string{}
		for field := range strings.FieldsSeq(line) {
			name, value, _ := strings.Cut(field, "=")
			fields[name] = value
		}
		if strings.HasPrefix(fields["name"], namePrefix) && fields["sub"] != "0" {
			found[fields["id"]] = fields["name"]
		}
	}
	return found, nil
}

// Delete deletes the lease and tells nobody, so that its holder finds out when it renews.
func (s *redisServer) Delete(ctx context.Context, r Record) error {
	if r.Path == "" {
		return s.client.Do(ctx, "client", "kill", "id", r.Session).Err()
	}
	// In one step: by now the lease may be somebody else's.
	const source = `return redis.call('hget', KEYS[1], 'token') == ARGV[1] and redis.call('del', KEYS[1])`
	n, err := s.client.Eval(ctx, source, []string{r.Path}, strconv.FormatUint(r.Token, 10)).Int()
	if err == nil && n == 0 {
		err = errors.New("redis: the lease is another one by now")
	}
	return err
}

// Revoke deletes the lease and tells everybody, as package rediskv tells operators to.
func (s *redisServer) Revoke(ctx context.Context, r Record) error {
	if err := s.Delete(ctx, r); err != nil || r.Path == "" {
		return err
	}
	return s.client.Publish(ctx, strings.TrimSuffix(r.Path, leaseSuffix)+"}:events", "deposed").Err()
}

func (s *redisServer) MoveLeader(context.Context) error { return errors.ErrUnsupported }

// Traces leaves the counters out, which are there to stay.
func (s *redisServer) Traces(ctx context.Context) ([]string, error) {
	leases, err := s.client.Keys(ctx, "*"+leaseSuffix).Result()
	if err != nil {
		return nil, err
	}
	listeners, err := s.listeners(ctx)
	var traces []string
	for _, lease := range leases {
		traces = append(traces, "lease "+lease)
	}
	for id, name := range listeners {
		traces = append(traces, fmt.Sprintf("connection %s of %s", id, name))
	}
	return traces, err
}
