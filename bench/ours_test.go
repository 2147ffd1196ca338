//go:build unix

package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/redis/go-redis/v9"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/consul"
	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/backend/rediskv"
	"github.com/hustings-go/hustings/backend/zookeeper"
	"github.com/hustings-go/hustings/election"
	"github.com/hustings-go/hustings/internal/servers"
)

// oursOn is this library's Election, on a store.
func oursOn(store string) system {
	return system{name: "Election", store: store, ours: true, open: func(p place) (session, error) {
		b, closeClient, err := openBackend(store, p)
		if err != nil {
			return nil, err
		}
		return &ours{b: b, closeClient: closeClient, place: p}, nil
	}}
}

func openBackend(store string, p place) (b backend.Backend, closeClient func(), err error) {
	switch store {
	case "etcd":
		client, err := etcdClient(p)
		if err != nil {
			return nil, nil, err
		}
		b, err = etcd.New(client, etcd.WithTTL(p.TTL))
		return b, func() { _ = client.Close() }, err
	case "Consul":
		client, cut, err := consulClient(p)
		if err != nil {
			return nil, nil, err
		}
		b, err = consul.New(client, consul.WithTTL(p.TTL))
		return b, cut, err
	case "ZooKeeper":
		b, err = zookeeper.New([]string{p.Addr}, zookeeper.WithTTL(p.TTL), zookeeper.WithTick(servers.ZooKeeperTick))
		return b, func() {}, err
	case "Redis":
		client := redisClient(p)
		b, err = rediskv.New(client, rediskv.WithTTL(p.TTL))
		return b, func() { _ = client.Close() }, err
	}
	return nil, nil, fmt.Errorf("no backend for %s", store)
}

func etcdClient(p place) (*clientv3.Client, error) {
	config := clientv3.Config{Endpoints: []string{p.Addr}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()}
	if p.calls != nil {
		config.DialOptions = append(config.DialOptions, grpc.WithStatsHandler(messages{p.calls, p.NoUpkeep}))
	}
	return clientv3.New(config)
}

// consulClient returns a client and what ends it: without, queries go on for minutes.
func consulClient(p place) (client *api.Client, cut func(), err error) {
	w := newWire(p, nil)
	config := api.DefaultConfig()
	config.Address = p.Addr
	config.HttpClient = w.client()
	client, err = api.NewClient(config)
	return client, w.cut, err
}

func redisClient(p place) *redis.Client {
	o := &redis.Options{Addr: p.Addr, DisableIdentity: true}
	if p.calls != nil {
		o.Dialer = roundTrips{p.calls}.dial
	}
	return redis.NewClient(rediskv.Options(o))
}

type ours struct {
	b           backend.Backend
	closeClient func()
	place       place
}

func (o *ours) stand(ctx context.Context, key string, lead func(reign)) error {
	e, err := election.New(o.b, key, o.place.Name, election.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	if !o.place.Observing {
		err = e.Run(ctx, func(ctx context.Context, term *election.Term) error {
			lead(reign{leads: term.Valid, over: ctx.Done()})
			return nil
		})
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return nil
		}
		return err
	}
	for ev := range e.Events(ctx) {
		switch ev.State {
		case election.StateLeader:
			lead(reign{leads: ev.Term.Valid, over: ev.Context().Done()})
			return nil
		case election.StateErrored:
			if ev.RetryIn == 0 {
				return ev.Err
			}
		default:
		}
	}
	return nil
}

func (o *ours) close() {
	_ = o.b.Close()
	o.closeClient()
}
