//go:build unix

package servers

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Consul is a Consul server, often the only one of its cluster.
type Consul struct {
	*Process

	name      string
	path      string // of the executable
	http, rpc int    // its ports
	serf      [2]int // LAN and WAN
	token     string // of the operator, where ACLs are on
}

// ConsulOption changes how Consul is started.
type ConsulOption func(*consulConfig)

type consulConfig struct {
	settings map[string]any
	operator string // the token that ConsulACLs makes the operator's
	acls     bool
}

// ConsulSettings adds settings to the configuration file, where they replace
// ours of the same name: ConsulSettings(map[string]any{"session_ttl_min": "1s"}).
func ConsulSettings(settings map[string]any) ConsulOption {
	return func(c *consulConfig) {
		maps.Copy(c.settings, settings)
	}
}

// ConsulACLs turns ACLs on: whoever has no token may do nothing, and the
// operator's token, which [Consul.Token] returns, may do all.
func ConsulACLs() ConsulOption {
	return func(c *consulConfig) {
		c.acls = true
		c.settings["primary_datacenter"] = "dc1"
		c.settings["acl"] = map[string]any{
			"enabled":        true,
			"default_policy": "deny",
			"tokens":         map[string]any{"initial_management": c.operator, "agent": c.operator},
		}
	}
}

// StartConsul starts a Consul cluster of one server, and waits until it serves.
// Its settings are Consul's own, but that it elects itself faster, and lets one
// address have any number of connections: all tests come from one.
func StartConsul(t testing.TB, opts ...ConsulOption) *Consul {
	t.Helper()
	return StartConsulCluster(t, 1, opts...).Member(0)
}

// Endpoint returns the address of the HTTP API, as host and port.
func (c *Consul) Endpoint() string { return loopback(c.http) }

// URL returns the address of the HTTP API, as a URL.
func (c *Consul) URL() string { return loopbackURL(c.http) }

// Token returns the operator's token, or "" where ACLs are off.
func (c *Consul) Token() string { return c.token }

// Ctl runs the consul command against this server, as the operator, and returns
// what it printed.
func (c *Consul) Ctl(args ...string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path, args...)
	cmd.Env = append(os.Environ(), "CONSUL_HTTP_ADDR="+c.URL(), "CONSUL_HTTP_TOKEN="+c.token)
	var out, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		c.t.Fatalf("consul %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), complaint.String())
	}
	return out.String()
}

// ready asks for a read that a majority of the servers agreed to, and for the
// server's own node, which sessions are bound to and which it registers late.
func (c *Consul) ready(ctx context.Context) error {
	var nodes []any
	url := c.URL() + "/v1/catalog/nodes?consistent&filter=Node==" + c.name
	if err := call(ctx, http.MethodGet, url, nil, &nodes, "X-Consul-Token", c.token); err != nil {
		return err
	}
	if len(nodes) == 0 {
		return errors.New("the node is not registered yet")
	}
	return nil
}

// ConsulCluster is a number of Consul servers that replicate one store.
type ConsulCluster struct {
	t       testing.TB
	members []*Consul
}

// StartConsulCluster starts a cluster of n servers, and waits until all serve.
func StartConsulCluster(t testing.TB, n int, opts ...ConsulOption) *ConsulCluster {
	t.Helper()
	bin, err := Build(t.Context(), "consul")
	if err != nil {
		t.Fatal(err)
	}
	config := consulConfig{operator: uuid(), settings: map[string]any{
		"server":               true,
		"bind_addr":            "127.0.0.1",
		"disable_keyring_file": true,
		"disable_update_check": true,
		"log_level":            "INFO",
		"leave_on_terminate":   false,
		"performance":          map[string]any{"raft_multiplier": 1},
		"limits":               map[string]any{"http_max_conns_per_client": 0},
		"bootstrap_expect":     n,
	}}
	for _, opt := range opts {
		opt(&config)
	}
	c := &ConsulCluster{t: t}
	var join []string
	for i := range n {
		m := &Consul{
			name: fmt.Sprintf("consul%d", i),
			path: filepath.Join(bin, "consul"),
			http: reservePort(t), rpc: reservePort(t),
			serf: [2]int{reservePort(t), reservePort(t)},
		}
		if config.acls {
			m.token = config.operator
		}
		c.members = append(c.members, m)
		join = append(join, loopback(m.serf[0]))
	}
	if n > 1 {
		config.settings["retry_join"] = join
		config.settings["retry_interval"] = "1s"
	}
	for _, m := range c.members {
		m.Process = newProcess(t, spec{name: m.name, path: m.path, args: m.args(t, config.settings), ready: m.ready})
	}
	c.WaitReady()
	return c
}

// args writes the configuration file and returns the command line.
func (c *Consul) args(t testing.TB, settings map[string]any) []string {
	t.Helper()
	dir := t.TempDir()
	own := map[string]any{
		"node_name": c.name,
		"data_dir":  filepath.Join(dir, "data"),
		"ports": map[string]any{
			"http": c.http, "server": c.rpc, "serf_lan": c.serf[0], "serf_wan": c.serf[1], "grpc": -1, "grpc_tls": -1, "https": -1, "dns": -1,
		},
	}
	maps.Copy(own, settings)
	text, err := json.MarshalIndent(own, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "consul.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"agent", "-config-file=" + file}
}

// Member returns the server with index i, from 0.
func (c *ConsulCluster) Member(i int) *Consul { return c.members[i] }

// WaitReady waits until all servers serve.
func (c *ConsulCluster) WaitReady() {
	c.t.Helper()
	for _, m := range c.members {
		m.WaitReady()
	}
}

// Leader waits until a majority of the servers follows one leader that answers,
// and returns it.
func (c *ConsulCluster) Leader() *Consul {
	c.t.Helper()
	var leader *Consul
	Await(c.t, "the servers to agree on a leader", func(ctx context.Context) error {
		votes := make(map[string]int)
		answers := make(map[*Consul]bool)
		for _, m := range c.members {
			var addr string
			if err := call(ctx, http.MethodGet, m.URL()+"/v1/status/leader", nil, &addr); err == nil {
				votes[addr]++
				answers[m] = true
			}
		}
		for _, m := range c.members {
			if answers[m] && votes[loopback(m.rpc)] > len(c.members)/2 {
				leader = m
				return nil
			}
		}
		return fmt.Errorf("servers by leader: %v", votes)
	})
	return leader
}

// uuid makes a token as Consul wants them.
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
