//go:build unix

package main

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/hustings-go/hustings/internal/servers"
)

// TestRefusals: who is mistaken is told what about, and what is allowed.
func TestRefusals(t *testing.T) {
	p := newPerson(t, "file://"+t.TempDir())
	for _, c := range []struct {
		name, backend string
		args          []string
		want          string
	}{
		{"a typo", "", []string{"stauts", "k"}, `there is no command "stauts"; did you mean "status"?`},
		{"no such command", "", []string{"zzz"}, `there is no command "zzz"; "hustings help" lists all`},
		{"no such help", "", []string{"help", "rnu"}, `did you mean "run"?`},
		{"no such shell", "", []string{"completion", "tcsh"}, "bash, fish"},
		{"no shell", "", []string{"completion"}, "bash, fish"},
		{"a TTL without unit", "", []string{"status", "k", "--ttl", "5"}, "hustings: --ttl: ttl is a positive duration with a unit, such as 15s"},
		{"a flag of other stores", "", []string{"status", "k", "--cacert", "x"}, "hustings: --cacert: file URLs know the parameters ttl, "},
		{"a negative wait", "", []string{"run", "k", "--wait", "-5s", "--", "true"}, "--wait is -5s; it is at least 0s"},
		{"a negative grace", "", []string{"run", "k", "--grace", "-5s", "--", "true"}, "--grace is -5s; it is at least 0s"},
		{"no timeout", "", []string{"status", "k", "--timeout", "0s"}, "--timeout is 0s; it is at least 1ms"},
		{"a negative timeout", "", []string{"doctor", "--timeout", "-1s"}, "--timeout is -1s; it is at least 1ms"},
		{"a value that is too long", "", []string{"run", "k", "--value", strings.Repeat("x", 131_057), "--", "true"}, "--value has 131057 bytes; it has at most 131056"},
		{"a bad key of the doctor", "", []string{"doctor", "a b"}, `invalid key "a b"`},
		{"two keys of the doctor", "", []string{"doctor", "a", "b"}, "doctor takes one KEY, or none"},
		{"a bad URL in the environment", "garbage", []string{"status", "k"}, "hustings: $HUSTINGS_BACKEND: the backend URL cannot be used: it must begin with file://, "},
		{"a bad flag", "", []string{"status", "k", "--backend", "etcd://h?tll=3s"}, "hustings: --backend: the backend URL cannot be used: etcd URLs know the parameters "},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &person{t: t, env: p.env}
			if c.backend != "" {
				p.env = append(p.env, backendVar+"="+c.backend)
			}
			stdout, stderr, code := p.do(c.args...)
			if code != codeFailed || !strings.Contains(stderr, c.want) || !strings.HasPrefix(stderr, "hustings: ") || strings.Count(stderr, "\n") != 1 || stdout != "" {
				t.Errorf("exit code %d, printed %q and %q; want a line with %q", code, stdout, stderr, c.want)
			}
		})
	}
	if _, stderr, code := p.do("run", "k", "--quiet", "--value", strings.Repeat("x", 131_056), "--", "true"); code != 0 {
		t.Errorf("the longest value: exit code %d, %q", code, stderr)
	}
	if stdout, _, code := p.do("--version"); code != 0 || !strings.HasPrefix(stdout, "hustings ") {
		t.Errorf("--version: exit code %d, %q", code, stdout)
	}
}

// TestCompletion offers what fits, and files only where a file is meant.
func TestCompletion(t *testing.T) {
	p := newPerson(t, "")
	for _, c := range []struct {
		words []string // the last one is completed
		want  string
	}{
		{[]string{"re"}, "resign\tHave a run on this machine step down for a while\n:4\n"},
		{[]string{"run", ""}, ":4\n"},
		{[]string{"status", ""}, ":4\n"},
		{[]string{"run", "k", "--wai"}, "--wait\t"},
		{[]string{"run", "k", "--log-format", ""}, "text\njson\n:4\n"},
		{[]string{"status", "--tls", "o"}, "on\noff\n:4\n"},
		{[]string{"observe", "--backend", ""}, "file://\netcd://\nconsul://\nzookeeper://\nredis://\n:6\n"},
		{[]string{"status", "--timeout", ""}, ":4\n"},
		{[]string{"status", "--cacert", ""}, ":0\n"}, // files
		{[]string{"run", "k", "--", "l"}, ":0\n"},
		{[]string{"help", "do"}, "doctor\t"},
	} {
		stdout, _, code := p.do(append([]string{"__complete"}, c.words...)...)
		if code != 0 || !strings.HasPrefix(stdout, c.want) {
			t.Errorf("%q: exit code %d, %q; want %q", c.words, code, stdout, c.want)
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", `set -eu; source <("$0" completion bash); complete -p hustings`, p.command().Path)
	cmd.Env = p.env
	s := begin(t, cmd)
	s.mustExit(0)
	if !strings.Contains(s.stdout.String(), "__start_hustings") || s.stderr.String() != "" {
		t.Errorf("in bash: %q, %q", s.stdout.String(), s.stderr.String())
	}
}

// TestDoctor has one look at stores that are well, and at some that cannot be reached.
func TestDoctor(t *testing.T) {
	etcd := servers.StartEtcd(t)
	nobody := servers.StartEtcd(t)
	nobody.Kill()
	zookeeper := servers.StartZooKeeper(t)
	redis := servers.StartRedis(t)
	for _, c := range []struct {
		name, backend string
		code          int
		want          []string
		never         []string
	}{
		// It grants a little less than 8s, and that is no cause for worry.
		{"ZooKeeper", "zookeeper://" + zookeeper.Endpoint() + "?ttl=8s", 0, []string{"takes connections", "is ZooKeeper 3.", "All is well."}, []string{"!  "}},
		{"etcd that grants more", "etcd://" + etcd.Endpoint() + "?ttl=1s", 0, []string{"grants a TTL of 2s where 1s was asked for"}, nil},
		{"one of two", "etcd://" + nobody.Endpoint() + "," + etcd.Endpoint(), 0, []string{"!   the server " + nobody.Endpoint(), "connection refused", "All is well."}, nil},
		{"nobody there", "etcd://" + nobody.Endpoint(), codeNo, []string{"NO  a server can be reached", "connection refused", "Nobody listens there"}, []string{"ok  "}},
		{"no TLS there", "redis://:s3cr3t@" + redis.Endpoint(), codeNo, []string{"NO  a server can be reached", "speak TLS"}, []string{"s3cr3t", "pool.go"}},
		{"another store there", "etcd://" + redis.Endpoint(), codeNo, []string{"NO  an observer can read: no answer within 2s\n", "Nobody answers"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeout := "10s" // of a slow machine
			if strings.Contains(fmt.Sprint(c.want), "within 2s") {
				timeout = "2s"
			}
			stdout, stderr, code := newPerson(t, c.backend).do("doctor", "--timeout", timeout)
			for _, want := range c.want {
				if !strings.Contains(stdout, want) {
					t.Errorf("it does not say %q", want)
				}
			}
			for _, never := range c.never {
				if strings.Contains(stdout+stderr, never) {
					t.Errorf("it says %q", never)
				}
			}
			if code != c.code || stderr != "" {
				t.Errorf("exit code %d, want %d; printed\n%s%s", code, c.code, stdout, stderr)
			}
			if t.Failed() {
				t.Log(stdout)
			}
		})
	}

	t.Run("status", func(t *testing.T) {
		stdout, stderr, code := newPerson(t, "redis://"+nobody.Endpoint()).do("status", "k", "--timeout", "1s", "--log-format", "json")
		lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
		if code != codeFailed || stdout != "" || len(lines) != 2 || !strings.Contains(lines[0], `"no server can be reached"`) ||
			!strings.Contains(lines[1], `no answer within 1s: rediskv: observe "k": `) || !strings.Contains(lines[1], "connection refused") {
			t.Errorf("exit code %d, %q\n%s", code, stdout, stderr)
		}
	})
}
