//go:build unix

package servers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Etcd is a member of an etcd cluster, often its only one.
type Etcd struct {
	*Process

	name         string
	ctl          string // path of etcdctl
	client, peer int    // its ports
	cluster      *EtcdCluster
}

// EtcdOption changes how etcd is started.
type EtcdOption func(*etcdConfig)

type etcdConfig struct{ args []string }

// EtcdArgs adds arguments to etcd's command line, where they override ours:
// EtcdArgs("--heartbeat-interval=20", "--election-timeout=200").
func EtcdArgs(args ...string) EtcdOption {
	return func(c *etcdConfig) { c.args = append(c.args, args...) }
}

// StartEtcd starts etcd with one member, and waits until it serves. Its settings
// are etcd's own, but that it does not sync its files to disk: it survives Kill
// all the same.
func StartEtcd(t testing.TB, opts ...EtcdOption) *Etcd {
	t.Helper()
	return StartEtcdCluster(t, 1, opts...).Member(0)
}

// Endpoint returns the address for clients, as host and port.
func (e *Etcd) Endpoint() string { return loopback(e.client) }

// URL returns the address for clients, as a URL.
func (e *Etcd) URL() string { return loopbackURL(e.client) }

// Ctl runs etcdctl against this member, as root once auth is enabled, and
// returns what it printed.
func (e *Etcd) Ctl(args ...string) string {
	e.t.Helper()
	out, err := e.tryCtl(args...)
	if err != nil {
		e.t.Fatal(err)
	}
	return out
}

func (e *Etcd) tryCtl(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, e.ctl, args...)
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3", "ETCDCTL_ENDPOINTS="+e.URL(), "ETCDCTL_USER="+e.cluster.user)
	var out, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("etcdctl %s: %w\n%s%s", strings.Join(args, " "), err, out.String(), complaint.String())
	}
	return out.String(), nil
}

// EnableAuth creates the user root with password, and has etcd refuse all who
// do not name a user. It counts for the whole cluster, which must serve, and
// returns when all members know.
func (e *Etcd) EnableAuth(password string) {
	e.t.Helper()
	user := "root:" + password
	e.Ctl("user", "add", user)
	e.Ctl("role", "add", "root")
	e.Ctl("user", "grant-role", "root", "root")
	e.Ctl("auth", "enable")
	e.cluster.user = user
	for _, m := range e.cluster.members {
		// A member that does not know yet lets one in without a login, and has what they write refused by those who know.
		Await(e.t, m.name+" to refuse whoever has no login", func(ctx context.Context) error {
			err := call(ctx, http.MethodPost, m.URL()+"/v3/kv/range", map[string]string{"key": "YQ=="}, nil)
			if err == nil {
				err = errors.New("it does not")
			} else if strings.Contains(err.Error(), "user name is empty") {
				err = nil
			}
			return err
		})
	}
}

// ready asks for a read that a majority of the members agreed to.
func (e *Etcd) ready(ctx context.Context) error {
	return call(ctx, http.MethodGet, e.URL()+"/readyz", nil, nil)
}

// etcdStatus is what a member thinks of its cluster. The gateway prints 64-bit
// numbers as JSON strings.
type etcdStatus struct {
	Header struct {
		MemberID uint64 `json:"member_id,string"`
		RaftTerm uint64 `json:"raft_term,string"`
	} `json:"header"`
	Leader uint64 `json:"leader,string"`
}

func (e *Etcd) status(ctx context.Context) (etcdStatus, error) {
	var s etcdStatus
	if err := call(ctx, http.MethodPost, e.URL()+"/v3/maintenance/status", struct{}{}, &s); err != nil {
		return etcdStatus{}, err
	}
	return s, nil
}
