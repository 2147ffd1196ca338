//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/internal/servers"
)

// binaryVar tells the tests where the command was built.
const binaryVar = "HUSTINGS_TEST_BINARY"

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "hustings-test-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		// Started in the background, as by nohup or a CI that has no terminal, we may ignore signals that the
		// command is to be tested with, and so would it: a handler of ours is not inherited, and undoes that.
		for _, s := range []os.Signal{os.Interrupt, syscall.SIGHUP, syscall.SIGQUIT} {
			if signal.Ignored(s) {
				signal.Notify(make(chan os.Signal, 1), s)
			}
		}
		path := filepath.Join(dir, "hustings")
		if out, err := exec.CommandContext(context.Background(), "go", "build", "-o", path, ".").CombinedOutput(); err != nil {
			panic(fmt.Sprintf("build: %v\n%s", err, out))
		}
		if err := os.Setenv(binaryVar, path); err != nil {
			panic(err)
		}
		code := m.Run()
		if err := goleak.Find(); err != nil && code == 0 {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}())
}

// person starts commands as a person does: with a store, and folders of their own.
type person struct {
	t       testing.TB
	env     []string
	backend string
}

// newPerson is somebody who uses the store of a URL.
func newPerson(t testing.TB, backend string) *person {
	t.Helper()
	run, err := os.MkdirTemp("", "h") //nolint:usetesting // paths of sockets are short, and t.TempDir is long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	return &person{t: t, backend: backend, env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "XDG_RUNTIME_DIR=" + run, "TMPDIR=" + t.TempDir(),
		backendVar + "=" + backend,
	}}
}

// session is a command that was started.
type session struct {
	t              testing.TB
	cmd            *exec.Cmd
	stdout, stderr output
	exited         chan struct{}
}

// output is what was printed so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// command prepares hustings with arguments.
func (p *person) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(p.t.Context(), os.Getenv(binaryVar), args...)
	cmd.Env = p.env
	return cmd
}

// start starts hustings with pipes as its standard streams.
func (p *person) start(args ...string) *session {
	p.t.Helper()
	return begin(p.t, p.command(args...))
}

func begin(t testing.TB, cmd *exec.Cmd) *session {
	t.Helper()
	s := &session{t: t, cmd: cmd, exited: make(chan struct{})}
	cmd.WaitDelay = time.Second // what outlives hustings may keep its output open
	if cmd.Stdout == nil {
		cmd.Stdout = &s.stdout
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &s.stderr
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.exited)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-s.exited
		if t.Failed() {
			t.Logf("%q printed:\n%s--\n%s", cmd.Args[1:], s.stdout.String(), s.stderr.String())
		}
	})
	return s
}

// code waits for the end, and returns the exit code.
func (s *session) code() int {
	s.t.Helper()
	select {
	case <-s.exited:
	case <-time.After(30 * time.Second):
		s.t.Fatalf("%q did not end", s.cmd.Args[1:])
	}
	status := s.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return codeSignal + int(status.Signal())
	}
	return status.ExitStatus()
}

// mustExit fails the test unless the exit code is the one that is wanted.
func (s *session) mustExit(want int) {
	s.t.Helper()
	if got := s.code(); got != want {
		s.t.Errorf("%q: exit code %d, want %d", s.cmd.Args[1:], got, want)
	}
}

func (s *session) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// await waits until out shows text.
func (s *session) await(out fmt.Stringer, text string) {
	s.t.Helper()
	servers.Await(s.t, fmt.Sprintf("%q to print %q", s.cmd.Args[1:], text), func(context.Context) error {
		if strings.Contains(out.String(), text) {
			return nil
		}
		select {
		case <-s.exited:
			s.t.Fatalf("%q ended without %q:\n%s--\n%s", s.cmd.Args[1:], text, s.stdout.String(), s.stderr.String())
		default:
		}
		return errors.New("not yet")
	})
}

// leads waits until a run has started its command, and returns the number of the process, which the
// command prints as "pid N".
func (s *session) leads() int {
	s.t.Helper()
	s.await(&s.stdout, "pid ")
	var pid int
	text := s.stdout.String()
	servers.Await(s.t, "a process id", func(context.Context) error {
		text = s.stdout.String()
		_, err := fmt.Sscanf(text[strings.LastIndex(text, "pid "):], "pid %d\n", &pid)
		return err
	})
	return pid
}

// gone waits until there is no process pid, or only what its parent has yet to bury.
func gone(t testing.TB, pid int) {
	t.Helper()
	servers.Await(t, fmt.Sprintf("process %d to be gone", pid), func(context.Context) error {
		if alive(pid) {
			return errors.New("it lives")
		}
		return nil
	})
}

func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(stat), ") Z ")
}

// do runs hustings to its end, and returns what it printed.
func (p *person) do(args ...string) (stdout, stderr string, code int) {
	p.t.Helper()
	s := p.start(args...)
	code = s.code()
	return s.stdout.String(), s.stderr.String(), code
}

// etcdURL starts etcd for the test.
func etcdURL(t testing.TB, query string) string {
	t.Helper()
	return "etcd://" + servers.StartEtcd(t).Endpoint() + "?" + query
}
