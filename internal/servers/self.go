//go:build unix

package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// roleVar names the environment variable that tells a test binary which role to play.
const roleVar = "HUSTINGS_TEST_ROLE"

// Role returns what this process was started for by [StartSelf], or "" in a
// process that shall run the tests. TestMain asks it first:
//
//	func TestMain(m *testing.M) {
//		switch servers.Role() {
//		case "candidate":
//			candidate() // prints a line for each thing that the test waits for
//		default:
//			goleak.VerifyTestMain(m)
//		}
//	}
func Role() string { return os.Getenv(roleVar) }

// Self is the test binary, started once more to play a role in a process of its
// own, which the test can pause, kill and start again.
type Self struct {
	*Process

	t     testing.TB
	taken int // how many lines were returned or passed over
}

// StartSelf starts the test binary in a role, with env, as key=value, added to
// the environment. It does not wait for anything; [Self.Await] does. What the
// role prints to standard error is shown if the test fails.
func StartSelf(t testing.TB, role string, env ...string) *Self {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	env = append([]string{roleVar + "=" + role}, env...)
	return &Self{t: t, Process: newProcess(t, spec{name: role, path: path, env: env, split: true})}
}

// Start starts the role again after Kill or Stop. Next and Await pass over what
// earlier runs printed.
func (s *Self) Start() {
	s.t.Helper()
	s.taken = len(s.Lines())
	s.Process.Start()
}

// Restart stops the process and starts it again.
func (s *Self) Restart() {
	s.t.Helper()
	s.Stop()
	s.Start()
}

// Next waits for the next line that the process prints to its standard output
// and that no earlier Next or Await returned. It fails the test if there is none
// for half a minute, or if the process ends without one.
func (s *Self) Next() string {
	s.t.Helper()
	return s.Await("")
}

// Await is like Next, but passes over lines that do not begin with prefix.
func (s *Self) Await(prefix string) string {
	s.t.Helper()
	var line string
	Await(s.t, fmt.Sprintf("%s to print a line that begins with %q", s.spec.name, prefix), func(context.Context) error {
		ended := !s.current().alive() // asked before the look, so that no last line is missed
		lines := s.Lines()
		for s.taken < len(lines) {
			line = lines[s.taken]
			s.taken++
			if strings.HasPrefix(line, prefix) {
				return nil
			}
		}
		if ended {
			s.t.Fatalf("%s ended without a line that begins with %q; it printed %q", s.spec.name, prefix, lines)
		}
		return errors.New("no such line yet")
	})
	return line
}

// Lines returns all lines so far, also those that Next and Await returned. A
// line counts once it is ended.
func (s *Self) Lines() []string {
	s.t.Helper()
	text, err := os.ReadFile(s.out)
	if err != nil {
		s.t.Fatalf("output of %s: %v", s.spec.name, err)
	}
	lines := strings.Split(string(text), "\n")
	return lines[:len(lines)-1]
}
