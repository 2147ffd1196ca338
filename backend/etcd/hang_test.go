package etcd_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// A keep-alive that hangs costs those who share it one attempt, and not the term, also when somebody with
// more trial.Patience stays on it.
func TestKeepAliveThatHangs(t *testing.T) {
	server := servers.StartEtcd(t)
	var armed atomic.Bool
	hung := make(chan struct{})
	hang := sync.OnceFunc(func() { close(hung) })
	client := connect(t, []string{server.Endpoint()}, func(c *clientv3.Config) {
		c.DialOptions = append(c.DialOptions, grpc.WithChainStreamInterceptor(
			func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
				if strings.HasSuffix(method, "LeaseKeepAlive") && armed.CompareAndSwap(true, false) {
					hang()
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return next(ctx, desc, cc, method, opts...)
			}))
	})
	b := open(t, client, etcd.WithTTL(15*time.Second))
	patient, l := trial.Win(t, b, "hangs/patient", "x"), trial.Win(t, b, "hangs/brisk", "x")
	armed.Store(true)
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		_, _ = patient.Renew(ctx)
	}()
	defer func() {
		leave()
		<-left
	}()
	trial.Receive(t, "the first keep-alive", hung)
	for attempt := range 3 { // as an election makes them: a tenth of the TTL for each
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		_, err := l.Renew(ctx)
		cancel()
		if err == nil {
			return
		}
		t.Logf("attempt %d: %v", attempt, err)
	}
	t.Error("three attempts failed because of one keep-alive that hung")
}
