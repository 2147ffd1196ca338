package etcd_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/etcd"
	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/internal/trial"
)

// A record under the session's own name that the candidacy did not write may stand for a term that is long
// over. It is not inherited, also when it is the first in the queue.
func TestRecordOfTheSessionIsNotInherited(t *testing.T) {
	t.Parallel()
	server := servers.StartEtcd(t)
	operator := connect(t, []string{server.Endpoint()})
	b := open(t, connect(t, []string{server.Endpoint()}), etcd.WithTTL(long))
	trial.Win(t, b, "inherit/other", "x") // makes the session, and keeps it
	id := strings.TrimPrefix(records(t, operator, "inherit/other/", 1)[0], "inherit/other/")
	var lease clientv3.LeaseID
	if _, err := fmt.Sscanf(id, "%x", &lease); err != nil {
		t.Fatal(err)
	}
	old, err := operator.Put(trial.Within(t), "inherit/key/"+id, "old", clientv3.WithLease(lease))
	if err != nil {
		t.Fatal(err)
	}
	l, err := b.Campaign(trial.Within(t), "inherit/key", []byte("new"))
	trial.MustPass(t, "Campaign", err)
	if err == nil {
		t.Fatalf("won with token %d, and the record of revision %d is an old one", l.Token(), old.Header.Revision)
	}
	// What stands there is the session's own, and was removed with the candidacy; the next is on another session.
	if next := trial.Win(t, b, "inherit/key", "new"); next.Token() <= uint64(old.Header.Revision) {
		t.Errorf("token %d, not above the old record's %d", next.Token(), old.Header.Revision)
	}
	if path := records(t, operator, "inherit/key/", 1)[0]; path == "inherit/key/"+id {
		t.Errorf("the new candidacy has the record %s of the old one", path)
	}
}

// What a term left behind, and its Backend cannot remove, is not kept alive for ever by others on the
// session: after a TTL the session is given up, and with it all that stands on it.
func TestSessionWithALeftoverIsGivenUp(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	operator, client := withRights(t, "leftover")
	b := open(t, client, etcd.WithTTL(ttl))
	held, left := trial.Win(t, b, "leftover/held", "x"), trial.Win(t, b, "leftover/left", "x")
	// A record is deleted on a condition, which takes the right to read it. To keep its lease alive takes
	// the right to write it.
	grant(t, operator, "leftover/left", clientv3.PermWrite)
	grant(t, operator, "leftover/held", clientv3.PermReadWrite)
	if _, err := operator.RoleRevokePermission(trial.Within(t), "candidate", "leftover/", "leftover0"); err != nil {
		t.Fatal(err)
	}
	id := strings.TrimPrefix(records(t, operator, "leftover/left/", 1)[0], "leftover/left/")
	resigned := time.Now() // or later
	trial.MustBe(t, "Resign without the right to", left.Resign(trial.Within(t)), backend.ErrDenied)
	for operatorGet(t, operator, "leftover/left/"+id) != "" {
		_, err := held.Renew(trial.Within(t))
		kept := time.Since(resigned)
		if errors.Is(err, backend.ErrDenied) && (kept < ttl || !strings.Contains(err.Error(), "leftover/left/")) {
			t.Errorf("given up %v after the resignation, with the error %v; want at least %v, and the record named", kept, err, ttl)
		}
		if kept > trial.Patience {
			t.Fatalf("the session is still renewed %v after a term on it was resigned that still stands", kept)
		}
		<-time.After(ttl / 10)
	}
}

// withRights starts a server with a login, and makes a client of root and one of a user who may read and
// write the records of all elections below key.
func withRights(t testing.TB, key string, opts ...func(*clientv3.Config)) (operator, candidate *clientv3.Client) {
	t.Helper()
	server := servers.StartEtcd(t)
	server.Ctl("role", "add", "candidate")
	server.Ctl("user", "add", "candidate:s3cret")
	server.Ctl("user", "grant-role", "candidate", "candidate")
	server.EnableAuth("s3cret-root")
	as := func(user, password string) func(*clientv3.Config) {
		return func(c *clientv3.Config) { c.Username, c.Password = user, password }
	}
	operator = connect(t, []string{server.Endpoint()}, as("root", "s3cret-root"))
	grant(t, operator, key, clientv3.PermReadWrite)
	return operator, connect(t, []string{server.Endpoint()}, append(opts, as("candidate", "s3cret"))...)
}

// grant gives the role candidate a right to the records of key.
func grant(t testing.TB, operator *clientv3.Client, key string, right authpb.Permission_Type) {
	t.Helper()
	if _, err := operator.RoleGrantPermission(trial.Within(t), "candidate", key+"/", key+"0", clientv3.PermissionType(right)); err != nil {
		t.Fatal(err)
	}
}
