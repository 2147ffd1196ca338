//go:build unix

package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/creack/pty"

	"github.com/hustings-go/hustings/internal/servers"
)

// terminal is a command that a person started in a terminal.
type terminal struct {
	*session
	keys *os.File
}

// sit starts hustings in a terminal of its own.
func (p *person) sit(args ...string) *terminal {
	p.t.Helper()
	return p.sitBefore(p.command(args...))
}

func (p *person) sitBefore(cmd *exec.Cmd) *terminal {
	p.t.Helper()
	s := &session{t: p.t, cmd: cmd, exited: make(chan struct{})}
	keys, err := pty.Start(cmd)
	if err != nil {
		p.t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 4096)
		for {
			n, err := keys.Read(buf)
			_, _ = s.stdout.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	go func() {
		defer close(s.exited)
		_ = cmd.Wait()
		<-read
	}()
	p.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		keys.Close()
		<-s.exited
		if p.t.Failed() {
			p.t.Logf("%q printed:\n%s", cmd.Args, s.stdout.String())
		}
	})
	return &terminal{s, keys}
}

func (s *terminal) press(keys string) {
	s.t.Helper()
	if _, err := s.keys.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// TestTerminal runs a command that talks with a person.
func TestTerminal(t *testing.T) {
	p := newPerson(t, etcdURL(t, "ttl=10s"))
	const ask = `echo "sure?"; read answer; echo "you said $answer"; `
	t.Run("the command reads it", func(t *testing.T) {
		p := &person{t: t, env: p.env}
		s := p.sit("run", "k", "--", "sh", "-c", ask+"exit 4")
		s.await(&s.stdout, "sure?")
		s.press("yes\r")
		s.await(&s.stdout, "you said yes")
		s.mustExit(4)
	})
	t.Run("^C ends the command, and the run", func(t *testing.T) {
		p := &person{t: t, env: p.env}
		s := p.sit("run", "k", "--", "sh", "-c", stay)
		pid := s.leads()
		s.press("\x03")
		s.mustExit(130)
		gone(t, pid)
	})
	t.Run("^Z suspends nothing", func(t *testing.T) {
		p := &person{t: t, env: p.env}
		s := p.sit("run", "k", "--", "sh", "-c", ask+"exit 4")
		s.await(&s.stdout, "sure?")
		s.press("\x1a")
		s.press("yes\r")
		s.await(&s.stdout, "you said yes")
		s.mustExit(4)
	})
	t.Run("^C while waiting", func(t *testing.T) {
		p := &person{t: t, env: p.env}
		leader := p.start("run", "k", "--value", "ada", "--", "sh", "-c", stay)
		leader.leads()
		s := p.sit("run", "k", "--", "true")
		s.await(&s.stdout, "leader=ada")
		s.press("\x03")
		s.mustExit(130)
	})
	t.Run("the terminal comes back", func(t *testing.T) {
		p := &person{t: t, env: p.env}
		// A shell without job control shares its process group with hustings.
		cmd := exec.CommandContext(t.Context(), "sh", "-c", `"$0" run k --quiet -- sh -c 'read x; echo "first $x"'; read y; echo "second $y"`, p.command().Path)
		cmd.Env = p.env
		s := p.sitBefore(cmd)
		s.press("a\r")
		s.await(&s.stdout, "first a")
		s.press("b\r")
		s.await(&s.stdout, "second b")
		s.mustExit(0)
	})
}

// TestPasswordPrompt asks on the terminal, and shows nothing of the answer.
func TestPasswordPrompt(t *testing.T) {
	e := servers.StartEtcd(t)
	e.EnableAuth("s3cr3t")
	p := newPerson(t, "etcd://root@"+e.Endpoint()+"?ttl=2s&tls=off")
	s := p.sit("status", "k", "--password-prompt")
	s.await(&s.stdout, "Password for etcd://root@")
	s.press("s3cr3t\r")
	s.mustExit(codeNo)
	if strings.Contains(s.stdout.String(), "s3cr3t") {
		t.Error("the password is shown")
	}
	if _, stderr, code := p.do("status", "k", "--password-prompt"); code != codeFailed {
		t.Errorf("without a terminal: exit code %d, %q", code, stderr)
	}

	// The same password by the other ways, and those by which it is refused.
	t.Run("environment", func(t *testing.T) {
		p := &person{t: t, env: append(p.env, passwordVar+"=s3cr3t")}
		p.start("status", "k").mustExit(codeNo)
	})
	for _, raw := range []string{"etcd://root:s3cr3t@" + e.Endpoint(), "etcd://root:s3cr%zz@h", "etcd://:s3cr3t/x@h", "redi://root:s3cr3t@h"} {
		if stdout, stderr, code := p.do("status", "k", "--backend", raw); code != codeFailed || strings.Contains(stdout+stderr, "s3cr") {
			t.Errorf("on the command line: exit code %d, %q", code, stderr)
		}
		stdout, stderr, code := (&person{t: t, env: append(p.env, backendVar+"="+raw)}).do("doctor", "--timeout", "2s")
		if code == 0 || strings.Contains(stdout+stderr, "s3cr") {
			t.Errorf("in the environment: exit code %d, %q", code, stdout+stderr)
		}
	}
}
