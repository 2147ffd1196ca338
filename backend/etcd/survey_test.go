package etcd_test

import (
	"errors"
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

const many = 300 // more than are asked for in one transaction

// surveyed has all terms renew until nothing was read but all of them, together.
func surveyed(t testing.TB, r *reads, leases []backend.Lease) {
	t.Helper()
	var made []int64
	for range 10 { // the first counts, the second asks for each, the third proves; more only where the machine is slow
		if besides(t, r, leases) == 0 {
			return
		}
		made = append(made, r.n.Load())
	}
	t.Fatalf("%v reads for %d terms", made, len(leases))
}

// besides has the terms renew, and returns how many reads were not of all of them, where any were. There are several of all
// if not everybody asks at once.
func besides(t testing.TB, r *reads, leases []backend.Lease) int64 {
	t.Helper()
	r.n.Store(0)
	r.all.Store(0)
	if err := errors.Join(trial.RenewAll(trial.Within(t), leases)...); err != nil {
		t.Fatal(err)
	}
	return max(1, r.n.Load()) - r.all.Load()
}

// Whoever else comes, whatever is announced and written: as long as nothing is deleted, one read proves all.
func TestManyAreProvedByOneRead(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	b, leases, r := crowd(t, server, many, etcd.WithTTL(forOthers))
	surveyed(t, r, leases)
	for i := range 3 {
		if err := leases[i].Proclaim(trial.Within(t), []byte("y")); err != nil {
			t.Fatal(err)
		}
		trial.Candidate(t, t.Context(), open(t, operator, etcd.WithTTL(long)), crowdKey(i), "behind it")
		if _, err := operator.Put(trial.Within(t), fmt.Sprintf("crowd/1/other/%d", i), ""); err != nil {
			t.Fatal(err)
		}
		leases = append(leases, trial.Win(t, b, fmt.Sprintf("crowd/1/later/%d", i), "x"))
		if got := besides(t, r, leases[:many]); got != 0 {
			t.Errorf("%d of %d reads for %d terms, after others came, were not of all", got, r.n.Load(), many)
		}
	}
	surveyed(t, r, leases)
	if err := leases[0].Resign(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	surveyed(t, r, leases[1:])
}

// A survey never answers for a record that is gone, however that came, and whatever came instead.
func TestASurveySeesWhatIsGone(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	b, leases, r := crowd(t, server, many, etcd.WithTTL(forOthers))
	put := func(paths ...string) {
		t.Helper()
		for _, path := range paths {
			if _, err := operator.Put(trial.Within(t), path, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	const extra = "crowd/1/extra/"
	put("crowd/y") // beyond the range
	for i, tc := range []struct {
		name string
		lose func(path string)
	}{
		{"deleted", func(path string) { remove(t, operator, path) }},
		{"deleted, and another key created", func(path string) { remove(t, operator, path); put(extra + "a") }},
		{"another key created before", func(path string) { put(extra + "b"); remove(t, operator, path) }},
		{"deleted, and created by somebody else", func(path string) { remove(t, operator, path); put(path) }},
		{"deleted, and another key created and deleted", func(path string) {
			remove(t, operator, path)
			put(extra+"c", extra+"d")
			remove(t, operator, extra+"c")
		}},
		{"deleted, and another key written", func(path string) { remove(t, operator, path); put(extra + "a") }},
		{"deleted, and more created than a survey brings, by as many", func(path string) {
			remove(t, operator, path)
			for i := range 201 {
				put(fmt.Sprintf("%smany/%d", extra, i))
			}
		}},
		{"deleted, and another key comes into the range", func(path string) {
			remove(t, operator, path)
			trial.Win(t, b, "crowd/z", "x") // the last in the range, behind one that was there before
		}},
	} {
		surveyed(t, r, leases)
		victim := 7 * (i + 1)
		path := records(t, operator, fmt.Sprintf("crowd/%d/", victim), 1)[0]
		tc.lose(path)
		for i, err := range trial.RenewAll(trial.Within(t), leases) {
			switch {
			case i == victim && !errors.Is(err, backend.ErrLost):
				t.Errorf("%s: %v, want %v", tc.name, err, backend.ErrLost)
			case i != victim && err != nil:
				t.Errorf("%s: term %d: %v", tc.name, i, err)
			}
		}
		leases[victim] = trial.Win(t, open(t, operator, etcd.WithTTL(long)), fmt.Sprintf("instead/%d", i), "x")
		if _, err := operator.Delete(trial.Within(t), path); err != nil { // somebody else's
			t.Fatal(err)
		}
	}

	// What was won and lost since the last survey leaves no trace in it, though it was seen in between.
	surveyed(t, r, leases)
	brief := trial.Win(t, b, "crowd/1/brief", "x")
	if _, err := brief.Renew(trial.Within(t)); err != nil {
		t.Fatal(err)
	}
	remove(t, operator, records(t, operator, "crowd/1/brief/", 1)[0])
	errs := trial.RenewAll(trial.Within(t), append([]backend.Lease{brief}, leases...))
	trial.MustBe(t, "a term that came and went", errs[0], backend.ErrLost)
	if err := errors.Join(errs[1:]...); err != nil {
		t.Error(err)
	}

	// Nor does what was gone before the first survey, when it is asked for only then.
	early := leases[2]
	remove(t, operator, records(t, operator, crowdKey(2)+"/", 1)[0])
	rest := append(leases[:2:2], leases[3:]...)
	surveyed(t, r, rest)
	errs = trial.RenewAll(trial.Within(t), append([]backend.Lease{early}, rest...))
	trial.MustBe(t, "a term that was gone before", errs[0], backend.ErrLost)
	if err := errors.Join(errs[1:]...); err != nil {
		t.Error(err)
	}
}

// Surveys that may not be made, or would look at much that is others', or prove nothing, are not made; all else is as ever.
func TestNoSurvey(t *testing.T) {
	t.Parallel()
	renewAll := func(t *testing.T, r *reads, leases []backend.Lease, most int64, before func(i int)) {
		t.Helper()
		for i := range 6 {
			before(i)
			if err := errors.Join(trial.RenewAll(trial.Within(t), leases)...); err != nil {
				t.Fatal(err)
			}
		}
		if got := r.all.Load(); got > most {
			t.Errorf("%d surveys, want %d at most", got, most)
		}
	}
	nothing := func(int) {}
	t.Run("of many others", func(t *testing.T) {
		server := servers.StartEtcd(t)
		others(t, connect(t, []string{server.Endpoint()}), 5*many)
		_, leases, r := crowd(t, server, many, etcd.WithTTL(forOthers))
		renewAll(t, r, leases, 1, nothing)
	})
	t.Run("of what goes all the time", func(t *testing.T) {
		server := servers.StartEtcd(t)
		operator := connect(t, []string{server.Endpoint()})
		others(t, operator, 6)
		_, leases, r := crowd(t, server, many, etcd.WithTTL(forOthers))
		renewAll(t, r, leases, 3, func(i int) { remove(t, operator, other(i)) })
	})
	alone := func(b *etcd.Backend, keys func(i int) string) (leases []backend.Lease) {
		for i := range many {
			leases = append(leases, trial.Win(t, b, keys(i), "x"))
		}
		return leases
	}
	t.Run("of no folder", func(t *testing.T) {
		r := new(reads)
		b := open(t, connect(t, []string{servers.StartEtcd(t).Endpoint()}, r.intercept), etcd.WithTTL(forOthers))
		renewAll(t, r, alone(b, func(i int) string { return fmt.Sprintf("%d/alone", i) }), 0, nothing)
	})
	t.Run("of what may not be read", func(t *testing.T) {
		r := new(reads)
		operator, client := withRights(t, "crowd/a", r.intercept)
		grant(t, operator, "crowd/c", clientv3.PermReadWrite)
		b := open(t, client, etcd.WithTTL(forOthers))
		renewAll(t, r, alone(b, func(i int) string { return fmt.Sprintf("crowd/%c/%d", "ac"[i%2], i) }), 1, nothing)
	})
}
