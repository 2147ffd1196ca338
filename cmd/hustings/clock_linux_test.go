package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hustings-go/hustings/internal/servers"
)

// clockVar names the file that says how far a clock was set.
const clockVar = "HUSTINGS_TEST_CLOCK"

// clock is the wall clock of a machine, seen from a binary that was built to go by it.
type clock struct {
	t      testing.TB
	path   string // of that file
	binary string
}

// newClock builds the command with the one place that reads the wall clock replaced: as it is, and what a file says on top.
func newClock(t *testing.T) *clock {
	t.Helper()
	dir := t.TempDir()
	source, err := filepath.Abs("../../backend/instant.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	const reading = "wall: time.Duration(t.UnixNano())"
	if strings.Count(string(text), reading) != 1 {
		t.Fatalf("%s does not read the wall clock by %q any more", source, reading)
	}
	c := &clock{binary: filepath.Join(dir, "hustings")}
	replace := map[string]string{source: filepath.Join(dir, "instant.go"), filepath.Join(filepath.Dir(source), "set.go"): filepath.Join(dir, "set.go")}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	set := fmt.Sprintf(`package backend

import ("os"; "time")

func set() time.Duration {
	text, err := os.ReadFile(os.Getenv(%q))
	if err != nil {
		panic(err)
	}
	d, err := time.ParseDuration(string(text))
	if err != nil {
		panic(err)
	}
	return d
}
`, clockVar)
	for path, content := range map[string]string{
		"instant.go": strings.Replace(string(text), reading, reading+" + set()", 1), "set.go": set, "overlay.json": string(overlay),
	} {
		if err := os.WriteFile(filepath.Join(dir, path), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", c.binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return c
}

// set has the clock differ from the true one by so much, from now on.
func (c *clock) set(by time.Duration) {
	c.t.Helper()
	next := c.path + ".next"
	if err := errors.Join(os.WriteFile(next, []byte(by.String()), 0o600), os.Rename(next, c.path)); err != nil {
		c.t.Fatal(err)
	}
}

// start starts hustings on the machine with the clock.
func (c *clock) start(p *person, args ...string) *session {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), c.binary, args...)
	cmd.Env = append(p.env, clockVar+"="+c.path)
	return begin(c.t, cmd)
}

// alone is a command that notes when it is not the only one of its kind. It says what its token is, and when it was told to stop.
func alone(file string, heeds bool) []string {
	told := "echo told"
	if heeds {
		told += "; exit 0"
	}
	return []string{"--", "sh", "-c", `exec 9>"$0.lock"; flock -n 9 || echo "$HUSTINGS_TOKEN" >>"$0"; trap '` + told + `' TERM
echo "token $HUSTINGS_TOKEN"; echo "pid $$"; while :; do sleep 0.05 9>&-; done`, file}
}

// terms is an error until sessions had n terms, all together.
func terms(n int, sessions ...*session) error {
	for _, s := range sessions {
		n -= strings.Count(s.stdout.String(), "pid ")
	}
	if n > 0 {
		return fmt.Errorf("%d to come", n)
	}
	return nil
}

// TestClockIsSet sets the wall clock while a run leads. Back, it goes on. Forward by so much that the term may be over by it, the
// command is stopped, as it would be after the pause that this looks like, and leading goes on after another win.
func TestClockIsSet(t *testing.T) {
	const ttl = 4 * time.Second
	wall := newClock(t)
	for store, url := range map[string]string{"etcd": etcdURL(t, "ttl="+ttl.String()), "file": "file://" + t.TempDir() + "?ttl=" + ttl.String()} {
		for name, c := range map[string]struct {
			by    time.Duration
			over  bool
			heeds bool
		}{
			"an hour back":                          {-time.Hour, false, true},
			"a TTL back":                            {-ttl, false, true},
			"an hour forward":                       {time.Hour, true, true},
			"a TTL forward":                         {ttl, true, true},
			"an hour forward, with no heed of TERM": {time.Hour, true, false},
			"a TTL forward, with no heed of TERM":   {ttl, true, false},
		} {
			t.Run(store+" "+name, func(t *testing.T) {
				t.Parallel()
				p := newPerson(t, url)
				key := strings.NewReplacer(" ", "-", ",", "").Replace(name)
				overlaps := filepath.Join(t.TempDir(), "overlaps")
				if err := os.WriteFile(overlaps, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				machine := &clock{t, filepath.Join(t.TempDir(), "clock"), wall.binary}
				machine.set(0)
				s := machine.start(p, append([]string{"run", key, "--value", "ada"}, alone(overlaps, c.heeds)...)...)
				pid := s.leads()
				rival := p.start(append([]string{"run", key, "--value", "bob"}, alone(overlaps, c.heeds)...)...)
				rival.await(&rival.stderr, "leader=ada")

				if store == "file" { // whoever closes the lock file has the leader look at its term
					dir, _, _ := strings.Cut(strings.TrimPrefix(url, "file://"), "?")
					begin(t, exec.CommandContext(t.Context(), "sh", "-c", `while :; do exec 8<>"$0"; exec 8>&-; sleep 0.01; done`, filepath.Join(dir, key, "lock")))
				}
				start := time.Now()
				machine.set(c.by)
				if c.over {
					s.await(&s.stdout, "told")
					gone(t, pid)
					if took := time.Since(start); took > ttl {
						t.Errorf("the command ran for %v", took)
					}
					servers.Await(t, "another term", func(context.Context) error { return terms(2, s, rival) })
					rival.signal(unix.SIGKILL)
					servers.Await(t, "ada's next term", func(context.Context) error { return terms(2, s) })
					pid = s.leads()
				}
				// Two TTLs: it has renewed since, or else it would have been stopped.
				told, begun := strings.Count(s.stdout.String(), "told"), strings.Count(s.stdout.String(), "pid ")
				time.Sleep(2 * ttl)
				if !alive(pid) || strings.Count(s.stdout.String(), "told") != told || strings.Count(s.stdout.String(), "pid ") != begun {
					t.Errorf("leading did not go on:\n%s", s.stderr.String())
				}
				if text, err := os.ReadFile(overlaps); err != nil || len(text) > 0 {
					t.Errorf("two commands at once, under the tokens %q, error %v", text, err)
				}
				var last uint64
				for line := range strings.Lines(s.stdout.String()) {
					var token uint64
					if n, err := fmt.Sscanf(line, "token %d\n", &token); n == 1 && err == nil {
						if token <= last {
							t.Errorf("the token went from %d to %d", last, token)
						}
						last = token
					}
				}
			})
		}
	}
}

// TestFrozen stops a run, its keeper and its command, all of them, for longer than a TTL, as a frozen cgroup does, and has hustings wake
// first. With the file backend the lock is kept until the command has gone.
func TestFrozen(t *testing.T) {
	const ttl = 4 * time.Second
	p := newPerson(t, "file://"+t.TempDir()+"?ttl="+ttl.String())
	overlaps := filepath.Join(t.TempDir(), "overlaps")
	command := alone(overlaps, false)
	command[3] = "echo keeper $PPID; " + command[3]
	s := p.start(append([]string{"run", "k", "--value", "ada"}, command...)...)
	pid := s.leads()
	var keeper int
	if _, err := fmt.Sscanf(s.stdout.String(), "keeper %d\n", &keeper); err != nil {
		t.Fatal(err)
	}
	rival := p.start(append([]string{"run", "k", "--value", "bob"}, command...)...)
	rival.await(&rival.stderr, "leader=ada")
	send := func(sig unix.Signal, pids ...int) {
		for _, pid := range pids {
			if err := unix.Kill(pid, sig); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(unix.SIGSTOP, s.cmd.Process.Pid, keeper, -pid)
	time.Sleep(5 * ttl / 2)
	send(unix.SIGCONT, s.cmd.Process.Pid)
	s.await(&s.stderr, "the term ends")
	time.Sleep(ttl / 2) // for those who would lead now
	if rival.stdout.String() != "" {
		t.Errorf("another command ran beside a stopped one: %q", rival.stdout.String())
	}
	send(unix.SIGCONT, keeper)
	gone(t, pid)
	servers.Await(t, "another term", func(context.Context) error { return terms(2, s, rival) })
	if text, err := os.ReadFile(overlaps); err != nil && !errors.Is(err, os.ErrNotExist) || len(text) > 0 {
		t.Errorf("two commands at once, under the tokens %q, error %v", text, err)
	}
}
