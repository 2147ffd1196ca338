//go:build unix

package main

import (
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/hustings-go/hustings/cmd/hustings/internal/keeper"
)

// otherRole is what this program does when it has started itself.
func otherRole(args []string) (code int, ok bool) {
	if len(args) == 0 || args[0] != keeper.Arg {
		return 0, false
	}
	return keeper.Main(args[1:]), true
}

// systemCommands are those that need process groups, signals and Unix sockets.
func (a *app) systemCommands() []*cobra.Command {
	return []*cobra.Command{a.runCommand(), a.resignCommand(), a.demoCommand(), a.candidateCommand()}
}

// onTerminal reports whether standard input is a terminal that is ours to hand on.
func (a *app) onTerminal() bool {
	group, err := unix.IoctlGetInt(int(a.stdin.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
