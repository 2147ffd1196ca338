package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// Who is second wins by the deletion of the first record alone; who is third reads its place, unless it has found out
// meanwhile that it became second.
func TestSecondWinsWithoutARead(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	stand := func(value string, ttl time.Duration) (<-chan trial.Outcome, *reads) {
		r, counter := new(reads), countWatches()
		b := open(t, connect(t, []string{server.Endpoint()}, r.intercept, counter.count), etcd.WithTTL(ttl))
		waiting := trial.Campaign(t, t.Context(), b, "second", value)
		counter.watched(t, 1)
		return waiting, r
	}
	wins := func(name string, waiting <-chan trial.Outcome, r *reads, want int64) backend.Lease {
		t.Helper()
		o := trial.Receive(t, "the win of "+name, waiting)
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		if got := r.n.Load(); got != want {
			t.Errorf("%s won with %d reads, want %d", name, got, want)
		}
		return o.Lease
	}
	for _, path := range []string{"second/b/1", "second/1f/2"} { // elections nested below are nothing to it
		if _, err := operator.Put(trial.Within(t), path, ""); err != nil {
			t.Fatal(err)
		}
	}
	first := trial.Win(t, open(t, operator, etcd.WithTTL(forOthers)), "second", "first")
	second, secondReads := stand("second", forOthers)
	third, thirdReads := stand("third", forOthers)
	records(t, operator, "second/", 5)
	fourth, fourthReads := stand("fourth", 3*time.Second)
	records(t, operator, "second/", 6)
	if err := first.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	lease := wins("the second", second, secondReads, 0)
	if err := lease.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	lease = wins("the third", third, thirdReads, 1)
	before := fourthReads.n.Load()
	servers.Await(t, "the next look", func(context.Context) error {
		if fourthReads.n.Load() < before+2 { // the first of them may have been on its way
			return errors.New("nothing was read")
		}
		return nil
	})
	noticed := fourthReads.n.Load()
	if err := lease.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	wins("the fourth", fourth, fourthReads, noticed)
}

// The candidate's record goes with that of the leader, at one revision or at two, one before the other or after it, and
// heard of at once or only when the stream was opened again, and whatever it is told first: it never wins.
func TestSecondLosesItsRecordWithTheFirst(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	both := func(t testing.TB, paths []string) {
		if _, err := operator.Txn(trial.Within(t)).Then(clientv3.OpDelete(paths[0]), clientv3.OpDelete(paths[1])).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	inTurn := func(t testing.TB, paths []string) {
		remove(t, operator, paths[1])
		remove(t, operator, paths[0])
	}
	for _, tc := range []struct {
		name   string
		lose   func(t testing.TB, paths []string)
		broken bool
	}{
		{"at one revision", both, false},
		{"in turn", inTurn, false},
		{"at one revision while the stream is broken", both, true},
		{"in turn while the stream is broken", inTurn, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for i := range 10 { // two watches would be told in either order
				key := "both/" + segment(t)
				counter, w := countWatches(), &wire{piecemeal: true}
				proxy, client := behind(t, server, counter.count, w.tap)
				leader := open(t, operator, etcd.WithTTL(long))
				trial.Win(t, leader, key, "a")
				b := open(t, client, etcd.WithTTL(long))
				waiting := trial.Campaign(t, t.Context(), b, key, "b")
				counter.watched(t, 1)
				paths := records(t, operator, key+"/", 2)
				if tc.broken {
					proxy.Refuse()
				}
				tc.lose(t, paths)
				proxy.Heal()
				o := trial.Receive(t, "the end of the candidacy", waiting)
				if o.Lease != nil {
					t.Fatalf("round %d: won token %d with no record in the store", i, o.Lease.Token())
				}
				trial.MustPass(t, "Campaign", o.Err)
				if tc.broken && w.streams.Load() < 2 {
					t.Error("the stream did not break")
				}
			}
		})
	}
}

// Who waited and won is told of the loss by the watch it won by, and reads its record only then. Where nobody asks to be told, that
// watch ends with the first renewal, with the term, or with the Backend.
func TestWatchOfTheCampaignGoesOn(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	for i, tc := range []struct {
		name string
		end  func(t testing.TB, b *etcd.Backend, l backend.Lease, former, path string) error
		read int64
	}{
		{"loss", func(t testing.TB, _ *etcd.Backend, l backend.Lease, former, path string) error {
			heard, _ := await(t, l)
			if _, err := l.Renew(trial.Within(t)); err != nil { // which reads
				t.Fatal(err)
			}
			if _, err := operator.Put(trial.Within(t), former, "stands again"); err != nil {
				t.Fatal(err)
			}
			remove(t, operator, former)
			<-time.After(50 * time.Millisecond) // for a read that should not come
			remove(t, operator, path)
			trial.MustBe(t, "what is told", trial.Receive(t, "the loss", heard.all), backend.ErrLost)
			return nil
		}, 2},
		{"loss before anybody listened", func(t testing.TB, _ *etcd.Backend, l backend.Lease, _, path string) error {
			remove(t, operator, path)
			heard, _ := await(t, l)
			trial.MustBe(t, "what is told", trial.Receive(t, "the loss", heard.all), backend.ErrLost)
			return nil
		}, 1},
		{"renewal", func(t testing.TB, _ *etcd.Backend, l backend.Lease, _, _ string) error {
			_, err := l.Renew(trial.Within(t))
			return err
		}, 1},
		{"end of the term", func(t testing.TB, _ *etcd.Backend, l backend.Lease, _, _ string) error {
			return l.Resign(trial.Within(t))
		}, 0},
		{"end of the Backend", func(_ testing.TB, b *etcd.Backend, _ backend.Lease, _, _ string) error { return b.Close() }, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			key := fmt.Sprintf("on/%d", i)
			r, w, counter := new(reads), new(wire), countWatches()
			first := trial.Win(t, open(t, operator, etcd.WithTTL(long)), key, "a")
			b := open(t, connect(t, []string{server.Endpoint()}, r.intercept, w.tap, counter.count), etcd.WithTTL(forOthers)) // so that no look is due
			waiting := trial.Campaign(t, t.Context(), b, key, "b")
			counter.watched(t, 1)
			paths := records(t, operator, key+"/", 2)
			if err := first.Resign(trial.Within(t)); err != nil {
				t.Fatal(err)
			}
			o := trial.Receive(t, "the win", waiting)
			if o.Err != nil {
				t.Fatal(o.Err)
			}
			if got := w.open.Load(); got != 1 {
				t.Errorf("%d streams after the win, want that of the campaign", got)
			}
			if err := tc.end(t, b, o.Lease, paths[0], paths[1]); err != nil {
				t.Fatal(err)
			}
			servers.Await(t, "the end of the stream", func(context.Context) error {
				if got := w.open.Load(); got > 0 {
					return fmt.Errorf("%d are open", got)
				}
				return nil
			})
			if got := w.streams.Load(); got != 1 {
				t.Errorf("%d streams, want 1", got)
			}
			if got := r.n.Load(); got != tc.read {
				t.Errorf("%d reads, want %d", got, tc.read)
			}
		})
	}
}

// A session that could not be kept alive is no ground to win on: the place is read.
func TestSecondWithAStaleGrant(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	r, counter := new(reads), countWatches()
	var refuse atomic.Bool
	refused := make(chan struct{}, 16)
	keepAlives := func(config *clientv3.Config) {
		config.DialOptions = append(config.DialOptions, grpc.WithChainStreamInterceptor(
			func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
				if refuse.Load() && method == "/etcdserverpb.Lease/LeaseKeepAlive" {
					refused <- struct{}{}
					return nil, errors.New("refused by the test")
				}
				return streamer(ctx, desc, cc, method, opts...)
			}))
	}
	leader := trial.Win(t, open(t, connect(t, []string{server.Endpoint()}), etcd.WithTTL(long)), "stale", "a")
	b := open(t, connect(t, []string{server.Endpoint()}, r.intercept, counter.count, keepAlives), etcd.WithTTL(9*time.Second))
	waiting := trial.Campaign(t, t.Context(), b, "stale", "b")
	counter.watched(t, 1)
	refuse.Store(true)
	trial.Receive(t, "a keep-alive", refused) // when a third of the TTL had passed
	before := r.n.Load()
	if err := leader.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	if o := trial.Receive(t, "the win", waiting); o.Err != nil {
		t.Fatal(o.Err)
	}
	if got := r.n.Load() - before; got < 1 { // another, if the look of each TTL is due just then
		t.Error("won without a read")
	}
}
