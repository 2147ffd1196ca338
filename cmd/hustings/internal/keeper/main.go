//go:build unix

package keeper

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lookEvery is how often the clock is looked at, at least: a timer sleeps when the machine does.
const lookEvery = time.Second

// Main is the keeper's own life. It returns the exit code, which nobody looks at.
func Main(args []string) int {
	if len(args) < 3 {
		return CodeFailed
	}
	deadline, err1 := strconv.ParseInt(args[0], 10, 64)
	group, err2 := strconv.Atoi(args[1])
	if errors.Join(err1, err2) != nil {
		return CodeFailed
	}
	// The kernel kills the command when the thread that started it ends, not the process.
	runtime.LockOSThread()
	for _, fd := range []int{ordersFD, reportsFD} {
		unix.CloseOnExec(fd)
	}
	m := &minder{
		reports:  os.NewFile(reportsFD, "reports"),
		deadline: time.Duration(deadline),
		terminal: group,
		orders:   make(chan []string),
		ends:     make(chan end, 1),
	}
	// What ends other processes is caught and not heeded: this one ends when the command has, and
	// hustings tells it what to do. To ignore them would have the command ignore them as well.
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGPIPE, unix.SIGUSR1, unix.SIGUSR2)
	if err := adopt(); err != nil {
		m.report(reportRefused, CodeFailed, err.Error())
		return CodeFailed
	}
	if err := m.start(args[2:]); err != nil {
		m.report(reportRefused, code(err), err.Error())
		return CodeCannotRun
	}
	go m.read(os.NewFile(ordersFD, "orders"))
	go m.wait()
	m.mind()
	return 0
}

// minder is the keeper, in its own process.
type minder struct {
	reports  *os.File
	deadline time.Duration
	terminal int // the process group that the terminal is taken from, or 0
	group    int // of the command
	orders   chan []string
	ends     chan end
}

// end is how the command ended.
type end struct {
	what   string
	number int
}

// start runs the command in a process group of its own.
func (m *minder) start(args []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	//nolint:noctx // it ends by orders
	cmd := exec.Command(path, args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = attributes()
	if m.terminal != 0 {
		cmd.SysProcAttr.Foreground, cmd.SysProcAttr.Ctty = true, int(os.Stdin.Fd())
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	m.group = cmd.Process.Pid
	m.report(reportStarted, m.group, "")
	return cmd.Process.Release() // wait waits for all children alike
}

// code is the exit code for a command that cannot be run.
func code(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return CodeNotFound
	}
	return CodeCannotRun
}

// read takes orders until hustings is gone.
func (m *minder) read(orders *os.File) {
	defer close(m.orders)
	for lines := bufio.NewScanner(orders); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) == 2 {
			m.orders <- words
		}
	}
}

// mind carries out orders until the command has ended, by itself or by our hand.
func (m *minder) mind() {
	orders := m.orders
	timer := time.NewTimer(0)
	defer timer.Stop()
	killed := false
	for {
		select {
		case order, ok := <-orders:
			if !ok {
				m.terminal, orders, killed = 0, nil, true // whoever gave us the terminal is gone
				break
			}
			killed = m.obey(order) || killed
		case <-timer.C:
			if now() >= m.deadline {
				killed = true
			}
		case e := <-m.ends:
			m.clear()
			m.report(e.what, e.number, "")
			return
		}
		if killed {
			_ = unix.Kill(-m.group, unix.SIGKILL) // if it is gone already, its end is on its way
		}
		timer.Reset(min(lookEvery, max(time.Millisecond, m.deadline-now())))
	}
}

// obey carries out an order. It reports whether the command is to be killed.
func (m *minder) obey(order []string) bool {
	number, err := strconv.ParseInt(order[1], 10, 64)
	if err != nil {
		return false
	}
	switch order[0] {
	case orderDeadline:
		m.deadline = time.Duration(number)
	case orderSignal:
		_ = unix.Kill(-m.group, syscall.Signal(number)) // as above
		_ = unix.Kill(-m.group, unix.SIGCONT)           // a stopped process does not hear the others
	case orderKill:
		return true
	}
	return false
}

// wait buries children, the command's orphans among them, until the command has ended.
func (m *minder) wait() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WUNTRACED, nil)
		switch {
		case errors.Is(err, unix.EINTR), err == nil && pid != m.group:
		case err != nil:
			m.ends <- end{reportExited, CodeFailed} // unheard of: the command was a child
			return
		case status.Exited():
			m.ends <- end{reportExited, status.ExitStatus()}
			return
		case status.Signaled():
			m.ends <- end{reportKilled, int(status.Signal())}
			return
		case status.Stopped() && status.StopSignal() != unix.SIGSTOP:
			// ^Z: the shell does not see it, and could not continue it. So nothing is suspended while it leads.
			_ = unix.Kill(-m.group, unix.SIGCONT)
		}
	}
}

// clear kills what the command left behind, and gives the terminal back.
func (m *minder) clear() {
	_ = unix.Kill(-m.group, unix.SIGKILL) // fails when nothing is left
	sweep()
	if m.terminal != 0 {
		signal.Ignore(unix.SIGTTOU) // which a background process gets for this
		_ = unix.IoctlSetPointerInt(int(os.Stdin.Fd()), unix.TIOCSPGRP, m.terminal)
	}
}

// report writes a line to hustings. If hustings is gone, nobody asks.
func (m *minder) report(what string, number int, text string) {
	fmt.Fprintf(m.reports, "%s %d %s\n", what, number, strings.ReplaceAll(text, "\n", " "))
}
