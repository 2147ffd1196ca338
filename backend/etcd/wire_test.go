package etcd_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/etcd"
)

// wire counts a client's watch streams, and lets a test touch what goes over them.
type wire struct {
	streams   atomic.Int64
	open      atomic.Int64 // of them now
	asked     atomic.Int64 // watches that were asked for, less those that were answered
	passed    atomic.Int64 // answers that the client got
	most      atomic.Int64 // of these at a time
	deaf      atomic.Bool  // the answer to the next watch does not come, nor does anything after it on that stream
	anonymous bool         // ids that are asked for do not reach the server, which makes up its own
	piecemeal bool         // after something that happened, the next answer is a while in coming
	ruined    atomic.Int64 // so many watches to come are asked for as etcd does not take them
}

func (w *wire) tap(config *clientv3.Config) {
	config.DialOptions = append(config.DialOptions, grpc.WithChainStreamInterceptor(
		func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			stream, err := streamer(ctx, desc, cc, method, opts...)
			if err != nil || method != "/etcdserverpb.Watch/Watch" {
				return stream, err
			}
			w.streams.Add(1)
			w.open.Add(1)
			context.AfterFunc(stream.Context(), func() { w.open.Add(-1) })
			return &tapped{ClientStream: stream, wire: w}, nil
		}))
}

type tapped struct {
	grpc.ClientStream
	wire *wire
	told bool // of something that happened
}

func (s *tapped) SendMsg(m any) error {
	if create := m.(*etcdserverpb.WatchRequest).GetCreateRequest(); create != nil {
		n := s.wire.asked.Add(1)
		s.wire.most.Store(max(s.wire.most.Load(), n)) // one stream at a time, and one sender
		if s.wire.ruined.Add(-1) >= 0 {
			create.StartRevision = -1
		}
		if s.wire.anonymous {
			create.WatchId = 0
		}
	}
	return s.ClientStream.SendMsg(m)
}

func (s *tapped) RecvMsg(m any) error {
	if s.told && s.wire.piecemeal {
		<-time.After(20 * time.Millisecond)
	}
	err := s.ClientStream.RecvMsg(m)
	s.told = err == nil && len(m.(*etcdserverpb.WatchResponse).Events) > 0
	if err != nil || !m.(*etcdserverpb.WatchResponse).Created {
		return err
	}
	s.wire.asked.Add(-1)
	if s.wire.deaf.CompareAndSwap(true, false) {
		<-s.Context().Done()
		return s.Context().Err()
	}
	s.wire.passed.Add(1)
	return nil
}

// ear keeps what is told.
type ear[T any] struct{ all chan T }

func newEar[T any]() ear[T] { return ear[T]{make(chan T, 1024)} }

// observe has b tell who leads key until the test ends: values, or errors.
func observe(t testing.TB, b *etcd.Backend, key string) (heard ear[string], stop func()) {
	t.Helper()
	heard = newEar[string]()
	stop = b.TellLeaders(t.Context(), key, func(l backend.Leader, err error) {
		if err != nil {
			heard.all <- "error: " + err.Error()
			return
		}
		heard.all <- string(l.Value)
	})
	t.Cleanup(stop)
	return heard, stop
}

// await has l tell of its loss until the test ends.
func await(t testing.TB, l backend.Lease) (heard ear[error], stop func()) {
	t.Helper()
	heard = newEar[error]()
	stop = l.(backend.LossTeller).TellLoss(t.Context(), func(err error) { heard.all <- err })
	t.Cleanup(stop)
	return heard, stop
}
