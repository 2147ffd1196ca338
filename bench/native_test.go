//go:build unix

package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/hashicorp/consul/api"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// nativeEtcd is package concurrency of etcd's own client: a Session, and an Election on it.
func nativeEtcd() system {
	return system{name: "concurrency.Election", store: "etcd", open: func(p place) (session, error) {
		client, err := etcdClient(p)
		if err != nil {
			return nil, err
		}
		s, err := concurrency.NewSession(client, concurrency.WithTTL(int(p.TTL/time.Second)))
		if err != nil {
			_ = client.Close()
			return nil, err
		}
		return &etcdNative{client, s, p}, nil
	}}
}

type etcdNative struct {
	client  *clientv3.Client
	session *concurrency.Session
	place   place
}

func (n *etcdNative) stand(ctx context.Context, key string, lead func(reign)) error {
	e := concurrency.NewElection(n.session, key)
	if n.place.Observing {
		watching, stop := context.WithCancel(ctx)
		var observer sync.WaitGroup
		observer.Go(func() {
			for range e.Observe(watching) {
			}
		})
		defer observer.Wait()
		defer stop()
	}
	if err := e.Campaign(ctx, n.place.Name); err != nil {
		return unless(ctx, err)
	}
	lead(reign{leads: told(n.session.Done()), over: n.session.Done()})
	return e.Resign(context.WithoutCancel(ctx))
}

func (n *etcdNative) close() {
	_ = n.session.Close()
	_ = n.client.Close()
}

// unless returns no error where ctx has ended: then that is why.
func unless(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// nativeConsul is api.Lock of Consul's own client, with a session for each lock, unless one is to be shared.
func nativeConsul() system {
	return system{name: "api.Lock", store: "Consul", open: func(p place) (session, error) {
		client, cut, err := consulClient(p)
		if err != nil {
			return nil, err
		}
		n := &consulNative{client: client, cut: cut, place: p, done: make(chan struct{})}
		if p.Shared {
			n.shared, _, err = client.Session().Create(&api.SessionEntry{TTL: p.TTL.String()}, nil)
			if err != nil {
				return nil, err
			}
			n.renewing.Go(func() { _ = client.Session().RenewPeriodic(p.TTL.String(), n.shared, &api.WriteOptions{}, n.done) })
		}
		return n, nil
	}}
}

type consulNative struct {
	client   *api.Client
	cut      func()
	place    place
	shared   string // id of the session, if it is
	done     chan struct{}
	renewing sync.WaitGroup
}

func (n *consulNative) stand(ctx context.Context, key string, lead func(reign)) error {
	lock, err := n.client.LockOpts(&api.LockOptions{
		Key: key, Value: []byte(n.place.Name), SessionTTL: n.place.TTL.String(), Session: n.shared,
	})
	if err != nil {
		return err
	}
	lost, err := lock.Lock(ctx.Done())
	if err != nil || lost == nil { // nil when ctx has ended
		return unless(ctx, err)
	}
	lead(reign{leads: told(lost), over: lost})
	return lock.Unlock()
}

func (n *consulNative) close() {
	close(n.done)
	n.renewing.Wait()
	n.cut()
}

// nativeZooKeeper is the Lock of go-zookeeper, on a connection of its own.
func nativeZooKeeper() system {
	return system{name: "zk.Lock", store: "ZooKeeper", open: func(p place) (session, error) {
		conn, events, err := zk.Connect([]string{p.Addr}, p.TTL, zk.WithLogger(silence{}), zk.WithLogInfo(false))
		if err != nil {
			return nil, err
		}
		return &zooKeeperNative{conn, events, p}, nil
	}}
}

type silence struct{}

func (silence) Printf(string, ...any) {}

type zooKeeperNative struct {
	conn   *zk.Conn
	events <-chan zk.Event
	place  place
}

func (n *zooKeeperNative) stand(ctx context.Context, key string, lead func(reign)) error {
	lock := zk.NewLock(n.conn, "/native/"+key, zk.WorldACL(zk.PermAll))
	if err := lock.LockWithData([]byte(n.place.Name)); err != nil {
		return unless(ctx, err)
	}
	// The lock itself never says that it is lost. What there is to ask is the connection.
	lead(reign{leads: func() bool { return n.conn.State() == zk.StateHasSession }})
	return lock.Unlock()
}

func (n *zooKeeperNative) close() {
	n.conn.Close()
	for range n.events {
	}
}

// nativeKube is client-go's LeaderElector on a Lease, in the proportions of its default times (15 s, 10 s, 2 s), and
// giving the lease up at the end, which is no default.
func nativeKube() system {
	return system{name: "client-go", store: "Kubernetes", open: func(p place) (session, error) {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(p.CA) {
			return nil, errors.New("no certificate")
		}
		w := newWire(p, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
		config := &rest.Config{Host: "https://" + p.Addr, BearerToken: p.Token, Transport: w, QPS: -1} // its own limit is 5 a second
		client, err := coordination.NewForConfig(config)
		if err != nil {
			return nil, err
		}
		return &kubeNative{client, w.cut, p}, nil
	}}
}

type kubeNative struct {
	client coordination.LeasesGetter
	cut    func()
	place  place
}

func (n *kubeNative) stand(ctx context.Context, key string, lead func(reign)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	started, ended := make(chan struct{}), make(chan struct{})
	var elector *leaderelection.LeaderElector
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: "default", Name: strings.ReplaceAll(key, "/", ".")},
			Client:     n.client,
			LockConfig: resourcelock.ResourceLockConfig{Identity: n.place.Name},
		},
		LeaseDuration:   n.place.TTL,
		RenewDeadline:   n.place.TTL * 10 / 15,
		RetryPeriod:     n.place.TTL * 2 / 15,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leadCtx context.Context) {
				close(started)
				defer close(ended)
				lead(reign{leads: func() bool { return leadCtx.Err() == nil && elector.IsLeader() }, over: leadCtx.Done()})
				cancel()
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return err
	}
	elector.Run(ctx)
	select {
	case <-started: // Run does not wait for it
		<-ended
	default:
	}
	return nil
}

func (n *kubeNative) close() { n.cut() }
