package servers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// dieWithParent has the kernel kill the child when the test binary ends, however it ends.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// stopped tells whether every thread of the process stands still: the signal is
// sent to all of them, and each stops when it next looks.
func stopped(pid int) error {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return err
	}
	if len(tasks) == 0 {
		return fmt.Errorf("no process %d", pid)
	}
	for _, path := range tasks {
		stat, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		// pid (command) state …, where the command may hold spaces and parentheses.
		_, state, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
		if !strings.HasPrefix(state, "T") {
			return fmt.Errorf("a thread is still in state %.1s", state)
		}
	}
	return nil
}
