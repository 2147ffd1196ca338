//go:build unix && !linux

package keeper

import (
	"os"
	"syscall"
	"time"
)

// now reads the wall clock: the only one here that processes share and that goes on while the machine sleeps.
func now() time.Duration { return time.Duration(time.Now().UnixNano()) }

// Executable is this program, to be started once more.
func Executable() (string, error) { return os.Executable() }

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// adopt does nothing: orphans go to the first process of the system.
func adopt() error { return nil }

// sweep does nothing: what has left the command's process group is not found.
func sweep() {}
