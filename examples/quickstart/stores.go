package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/backend/memory"
)

// memoryStore opens sessions with one store inside this process.
func memoryStore() (opener, error) {
	store, err := memory.New(memory.WithTTL(ttl))
	if err != nil {
		return nil, err
	}
	return func(string) (*session, error) {
		peer, err := store.Peer()
		if err != nil {
			return nil, err
		}
		return &session{Backend: peer, pull: peer.Cut, plug: peer.Heal, close: peer.Close}, nil
	}, nil
}

// etcdStore opens sessions with a real etcd, each with a client and a cable of its own.
func etcdStore(ctx context.Context, endpoint string) (opener, error) {
	return func(name string) (*session, error) {
		c := &cable{}
		client, err := clientv3.New(clientv3.Config{
			Context:     context.WithoutCancel(ctx), // the key is given up after ctx has ended
			Endpoints:   []string{endpoint},
			DialTimeout: time.Second,
			Logger:      zap.NewNop(),
			DialOptions: []grpc.DialOption{grpc.WithContextDialer(c.dial)},
		})
		if err != nil {
			return nil, err
		}
		b, err := etcd.New(client, etcd.WithTTL(ttl), etcd.WithName(name))
		if err != nil {
			return nil, errors.Join(err, client.Close())
		}
		return &session{Backend: b, pull: c.pull, plug: c.plug, close: func() error {
			return errors.Join(b.Close(), client.Close())
		}}, nil
	}, nil
}

// cable is a network connection that can be pulled out.
type cable struct {
	mu    sync.Mutex
	out   bool
	conns []net.Conn
}

var errPulled = errors.New("the cable is pulled")

func (c *cable) dial(ctx context.Context, addr string) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out {
		return nil, errPulled
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	c.conns = append(c.conns, conn)
	return conn, nil
}

func (c *cable) pull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = true
	for _, conn := range c.conns {
		_ = conn.Close() // pulled is pulled
	}
	c.conns = nil
}

func (c *cable) plug() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = false
}
