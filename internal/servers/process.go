//go:build unix

package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	patience  = 30 * time.Second      // for what a healthy server does in a second or two
	grace     = 5 * time.Second       // for a server that was asked to end
	pollEvery = 10 * time.Millisecond // between two looks at a condition
	tailBytes = 8 << 10               // of a log, shown when a test has failed
)

// spec says how to run a process, and how to tell that it serves.
type spec struct {
	name  string
	path  string
	args  []string
	env   []string                        // added to that of the test
	ready func(ctx context.Context) error // nil: as soon as it was started
	split bool                            // standard output goes into a file of its own, not into the log
}

// Process is a process that the test started. It ends with the test at the
// latest, also if the test binary is killed (on Linux). Its methods fail the
// test where they cannot do what they say.
type Process struct {
	t    testing.TB
	spec spec
	log  string // path of the file with what it printed
	out  string // path of the one with its standard output, if that is split off

	mu  sync.Mutex
	run *run // the latest one
}

// run is one life of a process. err may be read once done is closed.
type run struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// newProcess starts the process and leaves it to the caller to wait until it serves.
func newProcess(t testing.TB, s spec) *Process {
	t.Helper()
	dir := t.TempDir()
	p := &Process{t: t, spec: s, log: filepath.Join(dir, s.name+".log"), out: filepath.Join(dir, s.name+".out")}
	t.Cleanup(p.cleanup) // after TempDir, so that it runs before the folder is removed
	p.Start()
	return p
}

// Start runs the process again after Kill or Stop, with the same ports and the
// same data. It does not wait until the process serves: WaitReady does.
func (p *Process) Start() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.start(); err != nil {
		p.t.Fatalf("start %s: %v", p.spec.name, err)
	}
}

func (p *Process) start() error {
	if p.run != nil && p.run.alive() {
		return errors.New("it is running already")
	}
	log, err := appendTo(p.log)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	cmd := exec.Command(p.spec.path, p.spec.args...)
	cmd.Env = append(os.Environ(), p.spec.env...)
	cmd.Stdout, cmd.Stderr = log, log
	if p.spec.split {
		out, err := appendTo(p.out)
		if err != nil {
			return err
		}
		defer out.Close()
		cmd.Stdout = out
	}
	cmd.SysProcAttr = dieWithParent()

	r := &run{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// Linux kills the child when the thread that started it ends, not the
		// process: so that thread is kept for as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(r.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			r.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	p.run = r
	return nil
}

func appendTo(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
}

func (r *run) alive() bool {
	select {
	case <-r.done:
		return false
	default:
		return true
	}
}

func (p *Process) current() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run
}

// WaitReady waits until the process serves. If it has ended because another
// process held one of its ports, it is started again.
func (p *Process) WaitReady() {
	p.t.Helper()
	if p.spec.ready == nil {
		return
	}
	Await(p.t, p.spec.name+" to serve", func(ctx context.Context) error {
		r := p.current()
		if r.alive() {
			return p.spec.ready(ctx)
		}
		if tail := p.tail(); !strings.Contains(strings.ToLower(tail), "address already in use") {
			p.t.Fatalf("%s ended before it served: %v\n%s", p.spec.name, r.err, tail)
		}
		p.Start()
		return errors.New("a port that it needs is in use")
	})
}

// Pause stops the process where it is, as SIGSTOP does: its connections stay
// open, and it answers nothing. On Linux, not one of its threads runs when
// Pause returns.
func (p *Process) Pause() {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	pid := p.PID()
	Await(p.t, p.spec.name+" to stand still", func(context.Context) error { return stopped(pid) })
}

// Resume lets a paused process go on.
func (p *Process) Resume() {
	p.t.Helper()
	p.signal(syscall.SIGCONT)
}

// Kill ends the process with SIGKILL, paused or not, and returns when it is gone.
func (p *Process) Kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	<-p.current().done
}

// Stop asks the process to end with SIGTERM, kills it if it has not ended after
// five seconds, and returns when it is gone.
func (p *Process) Stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	p.signal(syscall.SIGCONT) // a paused one would not hear it
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.current().done:
	case <-timer.C:
		p.Kill()
	}
}

// Restart stops the process, starts it again with the same ports and data, and
// waits until it serves.
func (p *Process) Restart() {
	p.t.Helper()
	p.Stop()
	p.Start()
	p.WaitReady()
}

// PID returns the id of the process, or of the one that was running last.
func (p *Process) PID() int { return p.current().cmd.Process.Pid }

// Exited returns a channel that is closed when the process that runs now has ended.
func (p *Process) Exited() <-chan struct{} { return p.current().done }

// Log returns all that the process has printed so far, in all its runs.
func (p *Process) Log() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Errorf("log of %s: %v", p.spec.name, err)
	}
	return string(text)
}

// signal fails the test if the process has ended, except that what is gone
// already need not be ended.
func (p *Process) signal(sig syscall.Signal) {
	p.t.Helper()
	err := p.current().cmd.Process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) && (sig == syscall.SIGKILL || sig == syscall.SIGTERM || sig == syscall.SIGCONT) {
		return
	}
	if err != nil {
		p.t.Fatalf("send %v to %s: %v", sig, p.spec.name, err)
	}
}

func (p *Process) cleanup() {
	if r := p.current(); r != nil {
		r.cmd.Process.Kill() // fails only if it is gone
		<-r.done
	}
	if p.t.Failed() {
		p.t.Logf("last output of %s:\n%s", p.spec.name, p.tail())
	}
}

// tail returns the end of the log, from the start of a line.
func (p *Process) tail() string {
	file, err := os.Open(p.log)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err.Error()
	}
	skipped := max(0, info.Size()-tailBytes)
	text, err := io.ReadAll(io.NewSectionReader(file, skipped, tailBytes))
	if err != nil {
		return err.Error()
	}
	if _, rest, found := bytes.Cut(text, []byte("\n")); skipped > 0 && found {
		text = rest
	}
	return string(text)
}

// Await calls cond until it returns nil, at most for half a minute, and fails
// the test with its last error if it never does. Each call has a second.
func Await(t testing.TB, what string, cond func(ctx context.Context) error) {
	t.Helper()
	awaitFor(t, patience, what, cond)
}

// awaitFor is Await for what may take longer.
func awaitFor(t testing.TB, d time.Duration, what string, cond func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	var last error // that of an attempt which the deadline did not cut short
	for {
		err := attempt(ctx, cond)
		if err == nil {
			return
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v (%v)", what, last, context.Cause(ctx))
		case <-poll.C:
		}
	}
}

func attempt(ctx context.Context, cond func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Second, fmt.Errorf("no answer within %v", time.Second))
	defer cancel()
	return cond(ctx)
}
