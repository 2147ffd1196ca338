//go:build unix

package servers_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/hustings-go/hustings/internal/servers"
)

// countUp prints the numbers from 0, one each millisecond, and says goodbye.
func countUp() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	fmt.Println("hello", os.Getenv("WHO"))
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-end:
			fmt.Println("goodbye")
			return
		case <-tick.C:
			fmt.Println("count", n)
		}
	}
}

func TestSelfPlaysARole(t *testing.T) {
	self := servers.StartSelf(t, "count", "WHO=world")
	if got := self.Next(); got != "hello world" {
		t.Errorf("the first line is %q", got)
	}
	self.Await("count 20")
	self.Stop()
	self.Await("goodbye")
	if lines := self.Lines(); !slices.Contains(lines, "count 19") || lines[len(lines)-1] != "goodbye" {
		t.Errorf("it printed %q", lines)
	}
	self.Start()
	self.Await("hello")
	servers.Await(t, "more lines than were taken", func(context.Context) error {
		if lines := self.Lines(); !slices.Contains(lines[slices.Index(lines, "goodbye"):], "count 20") {
			return errors.New("not yet")
		}
		return nil
	})
	self.Restart()
	if got := self.Next(); got != "hello world" {
		t.Errorf("the first line of the third run is %q", got)
	}
}

func TestPauseStopsAProcessUntilResume(t *testing.T) {
	self := servers.StartSelf(t, "count")
	self.Await("count 10")
	for range 20 {
		self.Pause()
		before := len(self.Lines())
		// A hundred lines are due in this time, and that one does not come cannot be awaited.
		<-time.After(100 * time.Millisecond)
		if after := len(self.Lines()); after != before {
			t.Fatalf("while paused it printed %d lines", after-before)
		}
		self.Resume()
		self.Await("count")
	}
}

func TestKillAndStopEndAPausedProcess(t *testing.T) {
	self := servers.StartSelf(t, "count")
	self.Await("count")
	self.Pause()
	self.Kill()
	<-self.Exited()
	self.Kill() // once more changes nothing
	self.Start()
	self.Await("count")
	self.Pause()
	self.Stop()
	self.Await("goodbye")
}

func TestProcessIsGoneWhenItsTestIsOver(t *testing.T) {
	t.TempDir() // removed last, so that the check comes right after the process was dealt with
	var pid int
	t.Cleanup(func() {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("signal to the process: %v, want %v", err, syscall.ESRCH)
		}
	})
	self := servers.StartSelf(t, "count")
	self.Await("count")
	pid = self.PID()
}
