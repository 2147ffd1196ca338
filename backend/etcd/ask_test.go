package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// forOthers is a TTL with which those who wait for others to ask do so for longer than a test waits.
const forOthers = time.Hour

// reads counts the reads of a client, and lets a test stand in the way of one.
type reads struct {
	n    atomic.Int64
	all  atomic.Int64                                                       // of them those for a whole range of keys, but for places in a queue
	most atomic.Int64                                                       // records asked for in one request
	ops  atomic.Int64                                                       // operations of a kind in one request, at most
	next atomic.Pointer[func(ctx context.Context, send func() error) error] // for the next one
}

func (r *reads) intercept(config *clientv3.Config) {
	config.DialOptions = append(config.DialOptions, grpc.WithChainUnaryInterceptor(
		func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			send := func() error { return invoker(ctx, method, req, reply, cc, opts...) }
			asked, ops := 1, 1
			if txn, ok := req.(*etcdserverpb.TxnRequest); ok {
				asked = len(txn.Compare) + len(txn.Success)
				ops = max(len(txn.Compare), len(txn.Success), len(txn.Failure))
				for _, op := range txn.Success {
					if op.GetRequestRange() == nil {
						return send()
					}
				}
			} else if read, ok := req.(*etcdserverpb.RangeRequest); !ok {
				return send()
			} else if read.CountOnly || read.MinModRevision > 0 {
				r.all.Add(1)
			}
			r.n.Add(1)
			r.most.Store(max(r.most.Load(), int64(asked)))
			r.ops.Store(max(r.ops.Load(), int64(ops)))
			if f := r.next.Swap(nil); f != nil {
				return (*f)(ctx, send)
			}
			return send()
		}))
}

// hold has the next read wait for the returned function, before it is sent or after it was answered. It
// was called when asked is closed.
func (r *reads) hold(t testing.TB, answered bool) (asked <-chan struct{}, release func()) {
	here, on := make(chan struct{}), make(chan struct{})
	do := func(_ context.Context, send func() error) (err error) {
		if answered {
			err = send()
		}
		close(here)
		<-on
		if !answered {
			err = send()
		}
		return err
	}
	release = sync.OnceFunc(func() { close(on) })
	t.Cleanup(release)
	r.next.Store(&do)
	return here, release
}

// crowd is n terms on one session, with the reads that they cost.
func crowd(t testing.TB, server *servers.Etcd, n int, opts ...etcd.Option) (*etcd.Backend, []backend.Lease, *reads) {
	t.Helper()
	r := new(reads)
	b := open(t, connect(t, []string{server.Endpoint()}, r.intercept), opts...)
	leases := make([]backend.Lease, n)
	var wins sync.WaitGroup
	for i := range leases {
		wins.Go(func() {
			var err error
			if leases[i], err = b.Campaign(trial.Within(t), crowdKey(i), []byte("x")); err != nil {
				t.Error(err)
			}
		})
	}
	wins.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return b, leases, r
}

// others puts n records of nobody's among those of a crowd.
func others(t testing.TB, operator *clientv3.Client, n int) {
	t.Helper()
	const atOnce = 8
	for i := 0; i < n; i += atOnce {
		var puts []clientv3.Op
		for k := range min(atOnce, n-i) {
			puts = append(puts, clientv3.OpPut(other(i+k), ""))
		}
		if _, err := operator.Txn(trial.Within(t)).Then(puts...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

func other(i int) string { return fmt.Sprintf("crowd/10000/other/%d", i) }

func crowdKey(i int) string { return fmt.Sprintf("crowd/%d", i) }

// Renewals at the same time read their records together, as many at once as a server takes, and each gets its own answer.
// What makes a full transaction is sent while those before it are still in the air.
func TestRenewalsReadTheirRecordsTogether(t *testing.T) {
	t.Parallel()
	const n, full = 600, 256
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	others(t, operator, 5*n) // so that no survey is made
	_, leases, r := crowd(t, server, n, etcd.WithTTL(forOthers))
	if errs := trial.RenewAll(trial.Within(t), leases); errors.Join(errs...) != nil {
		t.Fatal(errs) // the survey that finds out
	}
	lost := make(map[int]bool)
	renewAll := func() {
		t.Helper()
		r.n.Store(0)
		r.most.Store(0)
		r.ops.Store(0)
		asked, release := r.hold(t, false)
		renewed := make(chan int, n)
		renew := func(i int) {
			switch _, err := leases[i].Renew(trial.Within(t)); {
			case lost[i]:
				trial.MustBe(t, fmt.Sprintf("term %d, whose record is gone", i), err, backend.ErrLost)
			case err != nil:
				t.Errorf("term %d: %v", i, err)
			}
			renewed <- i
		}
		go renew(0)
		trial.Receive(t, "the first read", asked)
		for i := range leases[1:] {
			go renew(i + 1)
		}
		for answered := range leases {
			if answered == 2*full { // two full transactions
				release()
			}
			if i := trial.Receive(t, "a renewal", renewed); i == 0 && answered < 2*full {
				t.Fatal("the read that is held was answered")
			}
		}
		// That the last do not all ask in the same moment makes it more than are needed.
		if got := r.n.Load(); got > 20 {
			t.Errorf("%d terms made %d reads", n, got)
		}
		if most, ops := r.most.Load(), r.ops.Load(); most != full || ops != full/2 {
			t.Errorf("%d records were asked for at once, by %d operations of a kind; want %d and %d: a server takes 128", most, ops, full, full/2)
		}
	}
	logged := raftIndex(t, operator, server)
	renewAll()
	if got := raftIndex(t, operator, server) - logged; got > 2 { // the cluster's version may be set just then
		t.Errorf("the reads made %d entries in etcd's log", got)
	}
	for i := 1; i < n; i += 97 {
		lost[i] = true
		path := records(t, operator, crowdKey(i)+"/", 1)[0]
		remove(t, operator, path)
		if i%2 == 0 { // and somebody else's is there
			if _, err := operator.Put(trial.Within(t), path, "x"); err != nil {
				t.Fatal(err)
			}
		}
	}
	renewAll()
}

// raftIndex tells how far etcd's log reaches.
func raftIndex(t testing.TB, operator *clientv3.Client, server *servers.Etcd) uint64 {
	t.Helper()
	status, err := operator.Status(trial.Within(t), server.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	return status.RaftIndex
}

// Who asks alone is answered at once: nobody waits for others who might come.
func TestLoneRenewalWaitsForNobody(t *testing.T) {
	t.Parallel()
	_, leases, r := crowd(t, servers.StartEtcd(t), 1, etcd.WithTTL(forOthers))
	const n = 10
	for range n {
		if _, err := leases[0].Renew(trial.Within(t)); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.n.Load(); got != n {
		t.Errorf("%d renewals made %d reads", n, got)
	}
}

// A question is never answered by what was read before it was asked, and does not wait for long either.
func TestQuestionIsAskedAfterItWasPut(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	_, leases, r := crowd(t, server, 1, etcd.WithTTL(30*time.Second)) // longer than the test waits
	answered, release := r.hold(t, true)
	waits := make(chan error, 1)
	go func() { waits <- leases[0].Wait(t.Context()) }()
	trial.Receive(t, "the answer to Wait's question", answered)
	remove(t, operator, records(t, operator, crowdKey(0)+"/", 1)[0])
	_, err := leases[0].Renew(trial.Within(t))
	trial.MustBe(t, "Renew", err, backend.ErrLost)
	release()
	trial.MustBe(t, "Wait", trial.Receive(t, "its end", waits), backend.ErrLost)
}

// A read that hangs costs those who share it one attempt, and those who come later none.
func TestReadThatHangs(t *testing.T) {
	t.Parallel()
	_, leases, r := crowd(t, servers.StartEtcd(t), 20, etcd.WithTTL(30*time.Second))
	hung := make(chan struct{})
	hang := func(ctx context.Context, _ func() error) error {
		close(hung)
		<-ctx.Done()
		return ctx.Err()
	}
	r.next.Store(&hang)
	var all sync.WaitGroup
	for i, l := range leases {
		all.Go(func() {
			for attempt := range 2 { // as an election makes them: a tenth of the TTL for each
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				_, err := l.Renew(ctx)
				cancel()
				if err == nil {
					return
				}
				t.Logf("term %d, attempt %d: %v", i, attempt, err)
			}
			t.Errorf("term %d: two attempts failed because of one read that hung", i)
		})
	}
	trial.Receive(t, "the first read", hung)
	all.Wait()
}

// Who leaves a shared read leaves it to the others, also when the read was made in its name.
func TestCancelledReadCostsTheOthersNothing(t *testing.T) {
	t.Parallel()
	_, leases, r := crowd(t, servers.StartEtcd(t), 3, etcd.WithTTL(forOthers))
	asked, release := r.hold(t, false)
	first := make(chan error, 1)
	go func() { first <- errors.Join(trial.RenewAll(trial.Within(t), leases[:1])...) }()
	trial.Receive(t, "the first read", asked) // the others gather behind it
	ctx, cancel := context.WithCancel(t.Context())
	second, third := make(chan error, 1), make(chan error, 1)
	go func() { second <- errors.Join(trial.RenewAll(ctx, leases[1:2])...) }()
	<-time.After(50 * time.Millisecond) // so that it usually is the first to gather
	go func() { third <- errors.Join(trial.RenewAll(trial.Within(t), leases[2:])...) }()
	<-time.After(50 * time.Millisecond)
	cancel()
	trial.MustBe(t, "the cancelled renewal", trial.Receive(t, "its end", second), context.Canceled)
	release()
	for _, renewed := range []<-chan error{first, third} {
		if err := trial.Receive(t, "another renewal", renewed); err != nil {
			t.Error(err)
		}
	}
}

// A server that takes fewer operations in a transaction gets fewer.
func TestServerTakesFewReads(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t, servers.EtcdArgs("--max-txn-ops=8"))
	others(t, connect(t, []string{server.Endpoint()}), 300) // so that no survey is made
	_, leases, r := crowd(t, server, 60, etcd.WithTTL(long))
	for range 20 { // each refusal halves the number
		r.n.Store(0)
		r.ops.Store(0)
		if err := errors.Join(trial.RenewAll(trial.Within(t), leases)...); err != nil {
			t.Fatal(err)
		}
		if n, ops := r.n.Load(), r.ops.Load(); n < 60 && ops > 1 && ops <= 8 {
			return
		}
	}
	t.Errorf("60 terms made %d reads at last, of %d operations of a kind at most", r.n.Load(), r.ops.Load())
}

// A right that is missing for one record is nothing to the terms that share its read.
func TestOneRecordIsForbidden(t *testing.T) {
	t.Parallel()
	r := new(reads)
	operator, client := withRights(t, "crowd", r.intercept)
	b := open(t, client, etcd.WithTTL(forOthers))
	var leases []backend.Lease
	for i := range 5 {
		leases = append(leases, trial.Win(t, b, crowdKey(i), "x"))
	}
	for i := range 4 {
		grant(t, operator, crowdKey(i), clientv3.PermReadWrite)
	}
	grant(t, operator, crowdKey(4), clientv3.PermWrite) // which it takes to keep the lease alive
	if _, err := operator.RoleRevokePermission(trial.Within(t), "candidate", "crowd/", "crowd0"); err != nil {
		t.Fatal(err)
	}
	for pause := 100 * time.Millisecond; r.most.Load() < 4; pause *= 2 { // until they did read together
		asked, release := r.hold(t, false)
		allowed := make(chan []error, 1)
		go func() { allowed <- trial.RenewAll(trial.Within(t), leases[:1]) }()
		trial.Receive(t, "a read", asked) // the others gather behind it
		together := make(chan []error, 1)
		go func() { together <- trial.RenewAll(trial.Within(t), leases[1:]) }()
		<-time.After(pause)
		release()
		errs := append(trial.Receive(t, "the first renewal", allowed), trial.Receive(t, "the others", together)...)
		trial.MustBe(t, "the term whose record may not be read", errs[4], backend.ErrDenied)
		if err := errors.Join(errs[:4]...); err != nil {
			t.Errorf("the others: %v", err)
		}
		if pause > trial.Patience {
			t.Fatal("no reads were made together")
		}
	}
}

// Elections that renew at different times find together, and from then on renew at once.
func TestRenewalsFindARhythm(t *testing.T) {
	t.Parallel()
	b := open(t, connect(t, []string{servers.StartEtcd(t).Endpoint()}), etcd.WithTTL(6*time.Second))
	first, second := trial.Win(t, b, "rhythm/1", "x"), trial.Win(t, b, "rhythm/2", "x")
	renew := func(l backend.Lease) (g backend.Grant) {
		t.Helper()
		trial.Insist(t, "Renew", func() (err error) { g, err = l.Renew(trial.Within(t)); return err })
		return g
	}
	for range 5 { // more than once only where the machine is slow
		g := renew(first)
		<-time.After(g.TTL*35/200 - backend.Now().Since(g.Sent)) // half of the time between two renewals of an election
		if other := renew(second); other == g {
			return
		}
	}
	t.Error("two that renew amid the times of each other do not find together")
}

// Candidates that wait on one session look at their queues together, and so do observers.
func TestLooksAreMadeTogether(t *testing.T) {
	t.Parallel()
	const n = 60
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	crowd(t, server, n, etcd.WithTTL(long))
	r := new(reads)
	b := open(t, connect(t, []string{server.Endpoint()}, r.intercept), etcd.WithTTL(3*time.Second))
	ctx, stop := context.WithCancel(t.Context())
	var observers sync.WaitGroup
	defer observers.Wait()
	defer stop()
	for i := range n {
		trial.Candidate(t, t.Context(), b, crowdKey(i), "y")
		observers.Go(func() {
			for ctx.Err() == nil {
				for range b.Observe(ctx, crowdKey(i)) { // until ctx ends, or a slow machine makes an error
				}
			}
		})
		<-time.After(b.TTL() / n) // so that they come at all times
	}
	records(t, operator, "crowd/", 2*n)
	for range 5 { // until all are there, and none is late
		r.n.Store(0)
		<-time.After(b.TTL())
		if got := r.n.Load(); got > 0 && got < n/3 {
			return
		}
	}
	t.Errorf("%d candidates and %d observers made %d reads in a TTL", n, n, r.n.Load())
}

// Backends that are made together look at different times.
func TestLooksOfBackendsAreSpread(t *testing.T) {
	t.Parallel()
	const n, ttl = 10, 3 * time.Second
	server := servers.StartEtcd(t)
	looked := make(chan time.Time, n)
	backends, counts := make([]*etcd.Backend, n), make([]*reads, n)
	for i := range n {
		counts[i] = new(reads)
		backends[i] = open(t, connect(t, []string{server.Endpoint()}, counts[i].intercept), etcd.WithTTL(ttl))
	}
	for i, b := range backends {
		leaders, _ := observe(t, b, "spread")
		trial.Receive(t, "the leader", leaders.all)
		look := func(_ context.Context, send func() error) error {
			looked <- time.Now()
			return send()
		}
		counts[i].next.Store(&look)
	}
	first := trial.Receive(t, "a look", looked)
	last := first
	for range n - 1 {
		last = trial.Receive(t, "a look", looked)
	}
	if spread := last.Sub(first); spread < ttl/6 {
		t.Errorf("%d Backends looked within %v of a TTL of %v", n, spread, ttl)
	}
}

// Whoever comes and goes at any moment, all that stay are answered.
func TestReadersComeAndGo(t *testing.T) {
	t.Parallel()
	_, leases, _ := crowd(t, servers.StartEtcd(t), 40, etcd.WithTTL(long))
	var all sync.WaitGroup
	for i, l := range leases {
		all.Go(func() {
			for n := range 60 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration((i*7+n*13)%40)*100*time.Microsecond)
				if _, err := l.Renew(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("term %d: %v", i, err)
				}
				cancel()
			}
			if _, err := l.Renew(trial.Within(t)); err != nil {
				t.Errorf("term %d, at last: %v", i, err)
			}
		})
	}
	all.Wait()
}
