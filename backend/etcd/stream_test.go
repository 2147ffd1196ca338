package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// Many elections are watched on one stream, and none of them has a goroutine that waits.
func TestThousandsOfWatches(t *testing.T) { // not parallel: it counts goroutines
	const n = 1000
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	w := new(wire)
	b := open(t, connect(t, []string{server.Endpoint()}, w.tap), etcd.WithTTL(long))
	var wins sync.WaitGroup
	leases := make([]backend.Lease, n)
	for i := range leases {
		wins.Go(func() { leases[i] = trial.Win(t, b, crowdKey(i), "x") })
	}
	wins.Wait()
	before := runtime.NumGoroutine()
	losses, leaders := newEar[error](), newEar[backend.Leader]()
	stops := make([]func(), 0, 2*n)
	for i, l := range leases {
		stops = append(stops, l.(backend.LossTeller).TellLoss(t.Context(), func(err error) { losses.all <- err }))
		stops = append(stops, b.TellLeaders(t.Context(), crowdKey(i), func(l backend.Leader, err error) {
			if err != nil {
				t.Error(err)
			}
			leaders.all <- l
		}))
	}
	for range n {
		if l := trial.Receive(t, "a leader", leaders.all); string(l.Value) != "x" {
			t.Fatalf("%q leads", l.Value)
		}
	}
	servers.Await(t, "no goroutines to wait", func(context.Context) error {
		if got := runtime.NumGoroutine() - before; got > n/20 || w.asked.Load() > 0 {
			return fmt.Errorf("%d elections have %d goroutines, and %d watches to come", n, got, w.asked.Load())
		}
		return nil
	})
	if got := w.streams.Load(); got != 1 {
		t.Errorf("%d streams, want 1", got)
	}
	if _, err := operator.Delete(trial.Within(t), "crowd/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	for range n {
		trial.MustBe(t, "the loss told", trial.Receive(t, "a loss", losses.all), backend.ErrLost)
		if l := trial.Receive(t, "a vacancy", leaders.all); !l.Vacant() {
			t.Fatalf("%q leads", l.Value)
		}
	}
	for _, stop := range stops {
		stop()
	}
	stacks := make([]byte, 16<<20)
	// What serves the stream has returned before that is told; the goroutine that told it may not have ended yet.
	if stacks = stacks[:runtime.Stack(stacks, true)]; strings.Contains(string(stacks), "etcd.(*line).serve(") {
		t.Errorf("the stream is still there, with nothing to watch:\n%s", stacks)
	}
}

// A stream that breaks and can be opened again costs nothing: no error, and nothing that happened meanwhile is missed.
func TestStreamResumes(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	leading := open(t, operator, etcd.WithTTL(long))
	for i := range 3 {
		key := fmt.Sprintf("resume/%d", i)
		w := new(wire)
		proxy, client := behind(t, server, w.tap)
		b := open(t, client, etcd.WithTTL(long))
		mine := trial.Win(t, b, key+"/mine", "x")
		leader := trial.Win(t, leading, key, "a")
		losses, _ := await(t, mine)
		leaders, _ := observe(t, b, key)
		trial.Receive(t, "the leader", leaders.all)
		proclaim := func(next string) {
			t.Helper()
			if err := leader.Proclaim(trial.Within(t), []byte(next)); err != nil {
				t.Fatal(err)
			}
			if told := trial.Receive(t, next, leaders.all); told != next {
				t.Errorf("told %q, want %q", told, next)
			}
		}
		proclaim("long before") // not to be told again
		proclaim("before")
		proxy.Refuse()
		healed := time.AfterFunc(100*time.Millisecond, proxy.Heal) // after the change, more often than not
		proclaim("after")                                          // the very next revision after the last one that was heard of
		healed.Stop()
		proxy.Heal()
		remove(t, operator, records(t, operator, key+"/mine/", 1)[0])
		trial.MustBe(t, "what is told", trial.Receive(t, "the loss", losses.all), backend.ErrLost)
		if got := w.streams.Load(); got != 2 {
			t.Errorf("%d streams, want 2", got)
		}
	}
}

// A stream that cannot be opened again is told of once to everybody, as something that passes.
func TestStreamThatIsCutOff(t *testing.T) {
	t.Parallel()
	const n = 20
	server := servers.StartEtcd(t)
	proxy, client := behind(t, server)
	b := open(t, client, etcd.WithTTL(time.Minute)) // longer than it takes to be told, twice 5 s, and to connect again
	leases := make([]backend.Lease, n)
	losses, leaders := make([]ear[error], n), make([]ear[string], n)
	for i := range leases {
		leases[i] = trial.Win(t, b, crowdKey(i), "x")
		losses[i], _ = await(t, leases[i])
		leaders[i], _ = observe(t, b, crowdKey(i))
		trial.Receive(t, "the leader", leaders[i].all)
	}
	proxy.Refuse()
	for i := range leases {
		err := trial.Receive(t, "the trouble of a leader", losses[i].all)
		trial.MustPass(t, "told", err)
		if told := trial.Receive(t, "the trouble of an observer", leaders[i].all); !strings.HasPrefix(told, "error") {
			t.Errorf("told %q", told)
		}
	}
	began := time.Now()
	_, stopLoss := await(t, leases[0])
	_, stopLeaders := observe(t, b, crowdKey(0))
	<-time.After(100 * time.Millisecond) // well within the requests' bound
	stopLoss()
	stopLeaders()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v to stop what cannot reach the store", took)
	}
	proxy.Heal()
	trial.Insist(t, "Renew", func() error { _, err := leases[0].Renew(trial.Within(t)); return err })
	heard, _ := observe(t, b, crowdKey(0))
	if told := trial.Receive(t, "the leader", heard.all); told != "x" {
		t.Errorf("told %q", told)
	}
	for i := range leases {
		if len(losses[i].all)+len(leaders[i].all) > 0 {
			t.Errorf("told more than one error, of %s", crowdKey(i))
		}
	}
}

// The place in the queue outlasts a break that the session outlasts.
func TestCandidateKeepsItsPlaceAsTheStreamBreaks(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	counter := countWatches()
	proxy, client := behind(t, server, counter.count)
	leader := trial.Win(t, open(t, operator, etcd.WithTTL(long)), "place", "a")
	b := open(t, client, etcd.WithTTL(30*time.Second)) // requests are bounded by 5 s, and a session by 20
	mine := trial.Win(t, b, "place/mine", "b")
	waiting := trial.Campaign(t, t.Context(), b, "place", "b")
	counter.watched(t, 1)
	losses, _ := await(t, mine)
	counter.watched(t, 1)
	queued := tokenOf(t, operator, records(t, operator, "place/", 3)[2])
	proxy.Refuse()
	trial.MustPass(t, "what is told", trial.Receive(t, "the end of the stream", losses.all))
	proxy.Heal()
	counter.watched(t, 1) // again, without another candidacy
	winsInItsPlace(t, leader, waiting, queued)
}

// Nor does it cost the place that the look of each TTL fails, as it does where it comes amid such a break: the session tells how
// long a candidate may do without the store.
func TestCandidateKeepsItsPlaceAsALookFails(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	leader := trial.Win(t, open(t, operator, etcd.WithTTL(long)), "blind", "a")
	r := new(reads)
	b := open(t, connect(t, []string{server.Endpoint()}, r.intercept), etcd.WithTTL(6*time.Second))
	waiting := trial.Candidate(t, t.Context(), b, "blind", "b")
	queued := tokenOf(t, operator, records(t, operator, "blind/", 2)[1])
	failed, again := make(chan struct{}), make(chan struct{})
	answer := func(_ context.Context, send func() error) error {
		close(again)
		return send()
	}
	fail := func(ctx context.Context, _ func() error) error {
		r.next.Store(&answer)
		close(failed)
		<-ctx.Done()
		return ctx.Err()
	}
	r.next.Store(&fail)
	trial.Receive(t, "the look", failed)
	trial.Receive(t, "another one", again)
	winsInItsPlace(t, leader, waiting, queued)
}

// tokenOf is the token that the candidate with that record leads with.
func tokenOf(t *testing.T, operator *clientv3.Client, record string) uint64 {
	t.Helper()
	resp, err := operator.Get(trial.Within(t), record)
	if err != nil {
		t.Fatal(err)
	}
	return uint64(resp.Kvs[0].CreateRevision)
}

// winsInItsPlace has the leader resign, and who waits must win with the record that it queued with.
func winsInItsPlace(t *testing.T, leader backend.Lease, waiting <-chan trial.Outcome, queued uint64) {
	t.Helper()
	if err := leader.Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	o := trial.Receive(t, "the win", waiting)
	if o.Err != nil {
		t.Fatal(o.Err)
	}
	if o.Lease.Token() != queued {
		t.Errorf("won with token %d, and queued with %d", o.Lease.Token(), queued)
	}
}

// Who was stopped while it read is not told what comes of it.
func TestStreamIsLeftWhileItReads(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	b, _, r := crowd(t, server, 1, etcd.WithTTL(long))
	asked, release := r.hold(t, true)
	heard, stop := observe(t, b, crowdKey(0))
	trial.Receive(t, "the read", asked)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	patient := time.NewTimer(100 * time.Millisecond)
	select {
	case <-stopped: // at once: then nothing may come of the read
	case <-patient.C:
	}
	release()
	trial.Receive(t, "the end of stop", stopped)
	told := len(heard.all)
	<-time.After(100 * time.Millisecond) // for what should not come
	if more := len(heard.all) - told; more > 0 {
		t.Errorf("told %q after stop", <-heard.all)
	}
}

// A watch that is not answered ends its stream, within the bound of a request: another one follows if the stream had worked,
// and else an error.
func TestWatchThatIsNotAnswered(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	w := new(wire)
	b := open(t, connect(t, []string{server.Endpoint()}, w.tap), etcd.WithTTL(6*time.Second))
	l := trial.Win(t, b, "hang", "x")
	w.deaf.Store(true)
	losses, _ := await(t, l)
	err := trial.Receive(t, "the trouble", losses.all)
	trial.MustPass(t, "told", err)
	if !strings.Contains(err.Error(), "did not answer to a watch within 2s") {
		t.Errorf("told %v", err)
	}
	renew := func() {
		t.Helper()
		trial.Insist(t, "Renew", func() error { _, err := l.Renew(trial.Within(t)); return err })
	}
	renew()
	losses, _ = await(t, l)
	servers.Await(t, "the watch", func(context.Context) error {
		if w.passed.Load() == 0 {
			return errors.New("it is not answered")
		}
		return nil
	})
	w.deaf.Store(true)
	leaders, _ := observe(t, b, "hang")
	trial.Receive(t, "the leader", leaders.all)
	servers.Await(t, "another stream", func(context.Context) error {
		if w.streams.Load() < 3 {
			return errors.New("there is none")
		}
		return nil
	})
	renew()
	if err := l.Proclaim(trial.Within(t), []byte("y")); err != nil {
		t.Fatal(err)
	}
	if told := trial.Receive(t, "the new value", leaders.all); told != "y" {
		t.Errorf("told %q", told)
	}
	if len(losses.all) > 0 {
		t.Errorf("a leader was told %v, though its watch went on", <-losses.all)
	}
}

// A proxy of etcd's makes up ids of its own, and is asked for one watch at a time, so that it is clear which one it answers.
func TestServerThatNumbersWatchesItself(t *testing.T) {
	t.Parallel()
	const n = 30
	server := servers.StartEtcd(t)
	w := &wire{anonymous: true}
	_, leases, _ := crowd(t, server, n, etcd.WithTTL(long))
	observer := open(t, connect(t, []string{server.Endpoint()}, w.tap), etcd.WithTTL(long))
	leaders := make([]ear[string], n)
	for i := range leases {
		var stop func()
		if leaders[i], stop = observe(t, observer, crowdKey(i)); i%3 == 0 {
			stop() // others come and go meanwhile
			leaders[i], _ = observe(t, observer, crowdKey(i))
		}
	}
	for i := range leases {
		if told := trial.Receive(t, "the leader", leaders[i].all); told != "x" {
			t.Errorf("told %q", told)
		}
	}
	for i, l := range leases {
		if err := l.Proclaim(trial.Within(t), []byte(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		if told := trial.Receive(t, "the new value", leaders[i].all); told != fmt.Sprint(i) {
			t.Errorf("told %q of %s", told, crowdKey(i))
		}
	}
	if got := w.most.Load(); got != 1 {
		t.Errorf("%d watches were asked for at a time, want 1", got)
	}
}

// A watch that is refused does not say which one it is. It is read and watched anew, as the reason that is given here has it.
func TestWatchThatIsRefused(t *testing.T) {
	t.Parallel()
	const n = 30
	w := new(wire)
	server := servers.StartEtcd(t)
	_, leases, _ := crowd(t, server, n, etcd.WithTTL(long))
	observer := open(t, connect(t, []string{server.Endpoint()}, w.tap), etcd.WithTTL(long))
	leaders := make([]ear[string], n)
	for i := range leases {
		if i == n/3 {
			w.ruined.Store(n / 3)
		}
		leaders[i], _ = observe(t, observer, crowdKey(i))
	}
	for i, l := range leases {
		if told := trial.Receive(t, "the leader", leaders[i].all); told != "x" {
			t.Errorf("told %q", told)
		}
		if err := l.Proclaim(trial.Within(t), []byte("y")); err != nil {
			t.Fatal(err)
		}
		if told := trial.Receive(t, "the new value", leaders[i].all); told != "y" {
			t.Errorf("told %q of %s", told, crowdKey(i))
		}
	}
	if got := w.streams.Load(); got != 1 || w.ruined.Load() >= 0 {
		t.Errorf("%d streams, want 1; %d watches were not refused", got, w.ruined.Load()+1)
	}
}

// The token that a stream was opened with expires; who watches after that does so on another stream, with another token.
func TestTokenOfTheStreamExpires(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t, servers.EtcdArgs("--auth-token-ttl=1"))
	server.EnableAuth("s3cret-root")
	w := new(wire)
	login := func(c *clientv3.Config) { c.Username, c.Password = "root", "s3cret-root" }
	b := open(t, connect(t, []string{server.Endpoint()}, login, w.tap), etcd.WithTTL(long))
	leader := open(t, connect(t, []string{server.Endpoint()}, login), etcd.WithTTL(long))
	l := trial.Win(t, leader, "token", "x")
	first, _ := observe(t, b, "token")
	trial.Receive(t, "the leader", first.all)
	for i := 0; w.streams.Load() < 2; i++ {
		if i == 5 { // more than once only where the machine is slow
			t.Fatal("the token does not expire")
		}
		<-time.After(3 * time.Second) // nothing is sent, which would prolong it
		other, stop := observe(t, b, fmt.Sprintf("token/%d", i))
		if told := trial.Receive(t, "nobody to lead", other.all); told != "" {
			t.Fatalf("told %q", told)
		}
		trial.Win(t, leader, fmt.Sprintf("token/%d", i), "y")
		if told := trial.Receive(t, "the leader", other.all); told != "y" {
			t.Fatalf("told %q", told)
		}
		stop()
	}
	trial.Insist(t, "Proclaim", func() error { return l.Proclaim(trial.Within(t), []byte("z")) })
	if told := trial.Receive(t, "the new value", first.all); told != "z" {
		t.Errorf("told %q", told)
	}
}

// A client that keeps to a part of the store does so in all that is asked for it.
func TestNamespace(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	inside := func() *etcd.Backend {
		client := connect(t, []string{server.Endpoint()})
		client.KV = namespace.NewKV(client.KV, "tenant/")
		client.Watcher = namespace.NewWatcher(client.Watcher, "tenant/")
		client.Lease = namespace.NewLease(client.Lease, "tenant/")
		return open(t, client, etcd.WithTTL(long))
	}
	a, b := inside(), inside()
	l := trial.Win(t, a, "space", "a")
	path := records(t, operator, "tenant/space/", 1)[0]
	leaders, stop := observe(t, b, "space")
	losses, _ := await(t, l)
	waiting := trial.Campaign(t, t.Context(), b, "space", "b")
	records(t, operator, "tenant/space/", 2)
	if told := trial.Receive(t, "the leader", leaders.all); told != "a" {
		t.Errorf("told %q", told)
	}
	remove(t, operator, path)
	trial.MustBe(t, "told", trial.Receive(t, "the loss", losses.all), backend.ErrLost)
	if o := trial.Receive(t, "the next win", waiting); o.Err != nil {
		t.Fatal(o.Err)
	}
	for told := ""; told != "b"; {
		told = trial.Receive(t, "the new leader", leaders.all)
	}
	stop()
	records(t, operator, "space/", 0)
}
