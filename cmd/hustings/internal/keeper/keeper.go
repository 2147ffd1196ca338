//go:build unix

// Package keeper runs a command that must not outlive a deadline.
//
// Between hustings and the command stands a process of its own, the keeper: hustings, started once more. It is
// a dead man's switch. The command and all that it started are killed when the deadline passes without
// hustings having moved it, which also covers a hustings that was stopped; when hustings is gone, however
// it ended; and when the command itself has ended. A process that has left the command's process group, as
// a daemon does, is found as well, on Linux: it becomes the keeper's child when its parent ends.
package keeper

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Arg is the first argument of a process that is to be a keeper: main hands it to Main.
const Arg = "__keep"

// The exit codes of env(1), timeout(1) and the shells.
const (
	CodeFailed    = 125 // the command could not be kept
	CodeCannotRun = 126 // the command was found, but could not be run
	CodeNotFound  = 127 // the command was not found
	codeSignal    = 128 // plus the signal that killed the command
)

// The descriptors that a keeper is started with, beside the three standard ones.
const (
	ordersFD  = 3 // what hustings wants
	reportsFD = 4 // what became of the command
)

// Command is what to run.
type Command struct {
	Args []string // the program, as it is looked for in PATH, and its arguments
	Env  []string
	// Terminal hands the terminal that is standard input over to the command for as long as it runs.
	Terminal bool
}

// Result is what became of a command.
type Result struct {
	Code   int            // to exit with: the command's own, or what a shell would say
	Signal syscall.Signal // that killed it, or 0
	Err    error          // why the command did not run, or could not be kept
}

// Keeper is a command that is kept.
type Keeper struct {
	orders *os.File
	cmd    *exec.Cmd
	done   chan struct{}
	result Result // once done is closed
}

// Start runs the command, until deadline at the latest. Its standard streams are this process's own.
func Start(c Command, deadline time.Time) (*Keeper, error) {
	self, err := Executable()
	if err != nil {
		return nil, err
	}
	ordersOut, ordersIn, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	reportsOut, reportsIn, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, ordersOut.Close(), ordersIn.Close())
	}
	group := 0 // whom the terminal goes back to
	if c.Terminal {
		group = unix.Getpgrp()
	}
	//nolint:noctx // it ends by orders, and with this process
	cmd := exec.Command(self, append([]string{Arg, encode(deadline), strconv.Itoa(group)}, c.Args...)...)
	cmd.Args[0] = os.Args[0] // for ps: the path may be that of a link to an open file
	cmd.Env = c.Env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{ordersOut, reportsIn}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // no ^C of the terminal
	err = cmd.Start()
	_, _ = ordersOut.Close(), reportsIn.Close() // the keeper has them
	if err != nil {
		return nil, errors.Join(err, ordersIn.Close(), reportsOut.Close())
	}
	k := &Keeper{orders: ordersIn, cmd: cmd, done: make(chan struct{})}
	go k.listen(reportsOut)
	return k, nil
}

// listen collects the reports and, when the keeper has ended, what it left.
func (k *Keeper) listen(reports *os.File) {
	defer close(k.done)
	result := Result{Code: CodeFailed, Err: errors.New("the process that keeps the command was killed, and the command with it")}
	group := 0
	for lines := bufio.NewScanner(reports); lines.Scan(); {
		what, rest, _ := strings.Cut(lines.Text(), " ")
		n, text, _ := strings.Cut(rest, " ")
		number, err := strconv.Atoi(n)
		if err != nil {
			continue // torn off by a kill
		}
		switch what {
		case reportStarted:
			group = number
		case reportRefused:
			result = Result{Code: number, Err: errors.New(text)}
		case reportExited:
			result = Result{Code: number}
		case reportKilled:
			result = Result{Code: codeSignal + number, Signal: syscall.Signal(number)}
		}
	}
	_, _ = reports.Close(), k.orders.Close()
	_ = k.cmd.Wait() // how it ended was in its reports
	if group != 0 && result.Err != nil {
		// Somebody killed the keeper. Its command is killed by the kernel, where it can (Linux); the rest of the
		// group by us; and what has left the group has then got away.
		_ = unix.Kill(-group, unix.SIGKILL)
	}
	k.result = result
}

// Done is closed when nothing of the command is left.
func (k *Keeper) Done() <-chan struct{} { return k.done }

// Result tells what became of the command, once Done is closed.
func (k *Keeper) Result() Result { return k.result }

// Extend moves the deadline.
func (k *Keeper) Extend(deadline time.Time) { k.order(orderDeadline, encode(deadline)) }

// Signal sends a signal to the command's process group.
func (k *Keeper) Signal(s syscall.Signal) { k.order(orderSignal, strconv.Itoa(int(s))) }

// Kill kills the command and all that it started.
func (k *Keeper) Kill() { k.order(orderKill, "0") }

// order writes a line. If it cannot be written, the keeper is gone, and Done tells.
func (k *Keeper) order(what, arg string) { _, _ = io.WriteString(k.orders, what+" "+arg+"\n") }

// The words that hustings and its keeper use, each followed by a number.
const (
	orderDeadline = "deadline" // on the clock of now
	orderSignal   = "signal"
	orderKill     = "kill"

	reportStarted = "started" // its process group
	reportRefused = "refused" // the exit code, and why
	reportExited  = "exited"  // the exit code
	reportKilled  = "killed"  // the signal
)

// encode turns a deadline into a moment of the clock that both processes read.
func encode(deadline time.Time) string {
	return strconv.FormatInt(int64(now()+time.Until(deadline)), 10)
}
