//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hustings-go/hustings/internal/servers"
)

// stay is a command that says who it is, and stays.
const stay = `echo pid $$; exec sleep 1000`

// stores are those that commands are tested on: one whose leases run out, and one without a server.
func stores(t *testing.T) map[string]string {
	return map[string]string{"etcd": etcdURL(t, "ttl=6s"), "file": "file://" + t.TempDir() + "?ttl=6s"}
}

// onStores runs a test on each.
func onStores(t *testing.T, test func(t *testing.T, p *person)) {
	for name, url := range stores(t) {
		t.Run(name, func(t *testing.T) { test(t, newPerson(t, url)) })
	}
}

// TestExitCodes runs commands that end in all ways that there are.
func TestExitCodes(t *testing.T) {
	onStores(t, func(t *testing.T, p *person) {
		notExecutable := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(notExecutable, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		notAProgram := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(notAProgram, []byte("\x7fELF"), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			args []string
			want int
		}{
			"success":             {[]string{"run", "k", "--", "true"}, 0},
			"failure":             {[]string{"run", "k", "--", "sh", "-c", "exit 7"}, 7},
			"killed":              {[]string{"run", "k", "--", "sh", "-c", "kill -KILL $$"}, 137},
			"missing":             {[]string{"run", "k", "--", "no-such-command"}, 127},
			"missing path":        {[]string{"run", "k", "--", "/no/such/command"}, 127},
			"not executable":      {[]string{"run", "k", "--", notExecutable}, 126},
			"not a program":       {[]string{"run", "k", "--", notAProgram}, 126},
			"no command":          {[]string{"run", "k"}, 125},
			"no dashes":           {[]string{"run", "k", "true"}, 125},
			"no key":              {[]string{"run", "--", "true"}, 125},
			"bad key":             {[]string{"run", "a//b", "--", "true"}, 125},
			"unknown flag":        {[]string{"run", "k", "--nope", "--", "true"}, 125},
			"unknown command":     {[]string{"nope"}, 125},
			"bad log format":      {[]string{"run", "k", "--log-format", "xml", "--", "true"}, 125},
			"bad TTL":             {[]string{"run", "k", "--ttl", "10", "--", "true"}, 125},
			"once, and it ends":   {[]string{"run", "k", "--once", "--", "sh", "-c", "exit 9"}, 9},
			"flags of command":    {[]string{"run", "k", "--", "sh", "-c", `test "$1" = --once`, "sh", "--once"}, 0},
			"nobody leads":        {[]string{"status", "k"}, 1},
			"nobody to resign":    {[]string{"resign", "k"}, 1},
			"status without key":  {[]string{"status"}, 125},
			"observe without key": {[]string{"observe"}, 125},
			"help":                {[]string{"run", "--help"}, 0},
			"healthy":             {[]string{"doctor", "k"}, 0},
		} {
			t.Run(name, func(t *testing.T) {
				p := &person{t: t, env: p.env}
				s := p.start(c.args...)
				s.mustExit(c.want)
				if c.want == codeFailed && !strings.HasPrefix(s.stderr.String(), "hustings: ") {
					t.Errorf("printed %q", s.stderr.String())
				}
			})
		}
	})
}

// TestEnvironment looks at what a command is told, and at what it is not.
func TestEnvironment(t *testing.T) {
	p := newPerson(t, etcdURL(t, "ttl=10s&tls=off"))
	p.env = append(p.env, passwordVar+"=s3cret", "OTHER=kept", "HUSTINGS_TOKEN=old")
	// Without a user the password has no meaning to etcd, and is refused: a user makes it log in, to a server
	// that asks for none.
	p.env = append(p.env, backendVar+"="+strings.Replace(p.backend, "://", "://ada@", 1))
	stdout, stderr, code := p.do("run", "some/key", "--value", "ada's machine", "--", "env")
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	for _, want := range []string{"HUSTINGS_KEY=some/key\n", "HUSTINGS_VALUE=ada's machine\n", "HUSTINGS_BACKEND=etcd://ada@", "OTHER=kept\n", "HUSTINGS_TOKEN="} {
		if strings.Count(stdout, want) != 1 {
			t.Errorf("the environment has %q not once:\n%s", want, stdout)
		}
	}
	if strings.Contains(stdout+stderr, "s3cret") || strings.Contains(stdout, "HUSTINGS_TOKEN=old") {
		t.Errorf("it has what it must not have:\n%s%s", stdout, stderr)
	}
	if !strings.Contains(stderr, "without TLS") {
		t.Errorf("no warning about credentials without TLS:\n%s", stderr)
	}
}

// TestHandover has two runs follow each other.
func TestHandover(t *testing.T) {
	onStores(t, func(t *testing.T, p *person) {
		first := p.start("run", "k", "--value", "ada", "--", "sh", "-c", stay)
		command := first.leads()
		second := p.start("run", "k", "--value", "bob", "--", "sh", "-c", stay)
		second.await(&second.stderr, "leader=ada")
		if stdout, _, code := p.do("status", "k"); code != 0 || !strings.Contains(stdout, `"ada" leads`) {
			t.Errorf("status: %q, exit code %d", stdout, code)
		}
		first.signal(unix.SIGTERM)
		first.mustExit(codeSignal + int(unix.SIGTERM))
		gone(t, command)
		second.leads()
		second.signal(unix.SIGINT) // sleep is killed by it
		second.mustExit(codeSignal + int(unix.SIGINT))
	})
}

// TestInterruptedWhileWaiting leaves at once, with each signal that asks for it.
func TestInterruptedWhileWaiting(t *testing.T) {
	onStores(t, func(t *testing.T, p *person) {
		leader := p.start("run", "k", "--value", "ada", "--", "sh", "-c", stay)
		leader.leads()
		for _, sig := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
			s := p.start("run", "k", "--ttl", "1m", "--", "sh", "-c", stay)
			s.await(&s.stderr, "leader=ada")
			s.signal(unix.SIGUSR1) // is for a command, and there is none
			start := time.Now()
			s.signal(sig)
			s.mustExit(codeSignal + int(sig))
			if took := time.Since(start); took > 10*time.Second { // of a TTL, of which nothing has to pass
				t.Errorf("%v: left after %v", sig, took)
			}
			if s.stdout.String() != "" {
				t.Errorf("%v: a command ran", sig)
			}
		}
	})
}

// TestWait gives up waiting, and nothing else.
func TestWait(t *testing.T) {
	onStores(t, func(t *testing.T, p *person) {
		const wait = 5 * time.Second
		first := p.start("run", "k", "--wait", wait.String(), "--", "sh", "-c", stay)
		first.leads()
		led := time.Now()
		second := p.start("run", "k", "--wait", "1500ms", "--", "sh", "-c", stay)
		second.mustExit(codeLost)
		if second.stdout.String() != "" {
			t.Error("its command ran")
		}
		time.Sleep(time.Until(led.Add(wait)))
		first.signal(unix.SIGTERM) // it outlived its own --wait, because it led
		first.mustExit(143)
	})
}

// TestStubbornCommand has a command that does not heed SIGTERM.
func TestStubbornCommand(t *testing.T) {
	const stubborn = `trap "echo heard" TERM; echo pid $$; while :; do sleep 0.05; done`
	onStores(t, func(t *testing.T, p *person) {
		t.Run("killed after the grace", func(t *testing.T) {
			s := p.start("run", "k", "--grace", "500ms", "--", "sh", "-c", stubborn)
			pid := s.leads()
			start := time.Now()
			s.signal(unix.SIGTERM)
			s.mustExit(137)
			if took := time.Since(start); took < 500*time.Millisecond || took > 5*time.Second {
				t.Errorf("killed after %v", took)
			}
			if !strings.Contains(s.stdout.String(), "heard") {
				t.Error("it was not asked first")
			}
			gone(t, pid)
		})
		t.Run("killed by the second", func(t *testing.T) {
			s := p.start("run", "k", "--grace", "1h", "--", "sh", "-c", stubborn)
			pid := s.leads()
			s.signal(unix.SIGTERM)
			s.await(&s.stdout, "heard")
			s.signal(unix.SIGTERM)
			s.mustExit(137)
			gone(t, pid)
		})
	})
}

// TestNothingSurvives has commands that leave something behind in every way that they can.
func TestNothingSurvives(t *testing.T) {
	leave := map[string]string{
		"a child in the background":  `sleep 1000 & echo pid $!`,
		"a child of another session": `setsid sh -c 'echo pid $$; exec sleep 1000' & sleep 0.2`,
		"a daemon, forked twice":     `(setsid sh -c 'echo pid $$; trap "" TERM HUP INT; sleep 1000; :' </dev/null &) ; sleep 0.2`,
	}
	onStores(t, func(t *testing.T, p *person) {
		for name, script := range leave {
			t.Run(name, func(t *testing.T) {
				t.Run("the command ends", func(t *testing.T) {
					s := p.start("run", "k", "--", "sh", "-c", script+"; exit 3")
					pid := s.leads()
					s.mustExit(3)
					if alive(pid) { // at once: the key was given up
						t.Errorf("%d lives", pid)
					}
				})
				t.Run("hustings is killed", func(t *testing.T) {
					// Long before the deadline, and under a key of its own, which stays taken.
					key := strings.NewReplacer(" ", "-", ",", "").Replace(name)
					s := p.start("run", key, "--ttl", "1h", "--", "sh", "-c", script+"; sleep 1000")
					pid := s.leads()
					s.signal(unix.SIGKILL)
					s.mustExit(137)
					gone(t, pid)
				})
			})
		}
	})
}

// live is a command that says who it is, and again and again that it lives, until it is killed.
const live = `echo pid $$; while :; do date +%s%N; sleep 0.02; done`

// lived returns when the live command of a run said last that it lives.
func (s *session) lived() (last time.Time) {
	s.t.Helper()
	for line := range strings.Lines(s.stdout.String()) {
		var nanos int64
		if n, err := fmt.Sscanf(line, "%d\n", &nanos); n == 1 && err == nil {
			last = time.Unix(0, nanos)
		}
	}
	if last.IsZero() {
		s.t.Error("the command did not say that it lives")
	}
	return last
}

// TestStoppedHustings: the command dies in time when hustings cannot see to it.
func TestStoppedHustings(t *testing.T) {
	const ttl = 4 * time.Second
	p := newPerson(t, etcdURL(t, "ttl="+ttl.String()))
	s := p.start("run", "k", "--", "sh", "-c", live)
	pid := s.leads()
	start := time.Now()
	s.signal(unix.SIGSTOP)
	gone(t, pid)
	if ran := s.lived().Sub(start); ran > ttl {
		t.Errorf("it ran for %v, and the TTL is %v", ran, ttl)
	}
	s.signal(unix.SIGCONT)
	servers.Await(t, "another term", func(context.Context) error {
		if strings.Count(s.stdout.String(), "pid ") < 2 {
			return errors.New("not yet")
		}
		return nil
	})
	s.signal(unix.SIGTERM)
	s.mustExit(143)
}

// TestKilledKeeper: the command does not outlive the process between it and hustings.
func TestKilledKeeper(t *testing.T) {
	p := newPerson(t, etcdURL(t, "ttl=10s"))
	s := p.start("run", "k", "--", "sh", "-c", `echo keeper $PPID; sleep 1000 & echo pid $!; wait`)
	pid := s.leads()
	text := s.stdout.String()
	keeper := strings.Fields(text)[1]
	if out, err := exec.CommandContext(t.Context(), "kill", "-9", keeper).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.mustExit(codeFailed)
	gone(t, pid)
}

// TestGigabyte passes on all that a command prints.
func TestGigabyte(t *testing.T) {
	p := newPerson(t, etcdURL(t, "ttl=10s"))
	cmd := p.command("run", "k", "--", "head", "-c", "1000000000", "/dev/zero")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaint output
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, out)
	if err := errors.Join(err, cmd.Wait()); err != nil {
		t.Errorf("%v\n%s", err, complaint.String())
	}
	if n != 1_000_000_000 {
		t.Errorf("%d bytes", n)
	}
}

// TestStandardStreams runs with a closed standard input, output and error.
func TestStandardStreams(t *testing.T) {
	p := newPerson(t, etcdURL(t, "ttl=10s"))
	file := filepath.Join(t.TempDir(), "out")
	for _, redirect := range []string{"<&-", ">&-", "2>&-", "<&- >&- 2>&-"} {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", `"$0" run k -- sh -c 'cat; echo done >>`+file+`; exit 5' `+redirect, os.Getenv(binaryVar))
		cmd.Env = p.env
		s := begin(t, cmd)
		s.mustExit(5)
	}
	text, err := os.ReadFile(file)
	if err != nil || strings.Count(string(text), "done") != 4 {
		t.Errorf("%q, error %v", text, err)
	}

	t.Run("input is passed on", func(t *testing.T) {
		cmd := p.command("run", "k", "--quiet", "--", "tr", "a-z", "A-Z")
		cmd.Stdin = strings.NewReader("hello")
		s := begin(t, cmd)
		s.mustExit(0)
		if s.stdout.String() != "HELLO" || s.stderr.String() != "" {
			t.Errorf("printed %q and %q", s.stdout.String(), s.stderr.String())
		}
	})
	t.Run("nobody reads the log", func(t *testing.T) {
		cmd := exec.CommandContext(t.Context(), "bash", "-c", `"$0" run k -- sh -c "sleep 1; exit 6" 2> >(exec <&-; sleep 3)`, os.Getenv(binaryVar))
		cmd.Env = p.env
		begin(t, cmd).mustExit(6)
	})
}
