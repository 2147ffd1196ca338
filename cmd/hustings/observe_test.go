//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hustings-go/hustings/internal/servers"
)

// hostile is what another tenant may announce: it clears the screen, sets the title and turns text around.
const hostile = "\x1b[2J\x1b]0;owned\x07\u202e\xff\r\nline"

// TestObserve follows an election, as text and as JSON.
func TestObserve(t *testing.T) {
	onStores(t, func(t *testing.T, p *person) {
		text, lines := p.start("observe", "k"), p.start("observe", "k", "--json")
		text.await(&text.stdout, "nobody leads")
		lines.await(&lines.stdout, `"state":"vacant"`)
		s := p.start("run", "k", "--value", "ada", "--", "sh", "-c", stay)
		text.await(&text.stdout, `"ada" leads, token `)
		lines.await(&lines.stdout, `"value":"ada"`)
		s.signal(unix.SIGTERM)
		s.mustExit(143)
		servers.Await(t, "vacancy to be told", func(context.Context) error {
			if strings.Count(text.stdout.String(), "nobody leads") < 2 || strings.Count(lines.stdout.String(), "vacant") < 2 {
				return errors.New("not yet")
			}
			return nil
		})
		for line := range strings.Lines(lines.stdout.String()) {
			var got struct{ Time time.Time }
			if err := json.Unmarshal([]byte(line), &got); err != nil || got.Time.IsZero() {
				t.Errorf("%q: %v", line, err)
			}
		}
		text.signal(unix.SIGINT)
		text.mustExit(130)
		lines.signal(unix.SIGTERM)
		lines.mustExit(143)
	})
}

// TestHostileValue: what stands in the store never reaches the terminal as it is.
func TestHostileValue(t *testing.T) {
	onStores(t, func(t *testing.T, p *person) {
		s := p.start("run", "k", "--value", hostile, "--", "sh", "-c", stay)
		s.leads()
		waiting := p.start("run", "k", "--", "sh", "-c", stay)
		waiting.await(&waiting.stderr, "leader=")
		stdout, stderr, code := p.do("status", "k")
		if code != 0 {
			t.Errorf("exit code %d", code)
		}
		asJSON, _, _ := p.do("status", "k", "--json")
		for _, text := range []string{stdout, stderr, asJSON, waiting.stderr.String()} {
			if strings.ContainsAny(text, "\x1b\x07\u202e\r") || strings.Contains(text, "\xff") {
				t.Errorf("printed raw: %q", text)
			}
		}
		if !strings.Contains(stdout, `"\x1b[2J\x1b]0;owned\a\u202e\xff\r\nline"`) {
			t.Errorf("printed %q", stdout)
		}
		var got struct {
			Base64 []byte `json:"value_base64"`
		}
		if err := json.Unmarshal([]byte(asJSON), &got); err != nil || string(got.Base64) != hostile {
			t.Errorf("%s: %q, error %v", asJSON, got.Base64, err)
		}
	})
}

// TestBrokenOutput: an observer ends with its reader, and says so when nothing can be written.
func TestBrokenOutput(t *testing.T) {
	p := newPerson(t, etcdURL(t, "ttl=10s"))
	leader := p.start("run", "k", "--value", "ada", "--", "sh", "-c", stay)
	leader.leads()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", `"$0" observe k | { head -n 1; exec <&-; echo deaf; }; exit ${PIPESTATUS[0]}`, p.command().Path)
	cmd.Env = p.env
	s := begin(t, cmd)
	s.await(&s.stdout, "deaf")
	if !strings.Contains(s.stdout.String(), `"ada" leads`) {
		t.Errorf("it printed %q", s.stdout.String())
	}
	leader.signal(unix.SIGTERM) // the observer's next line finds nobody
	s.mustExit(codeSignal + int(unix.SIGPIPE))

	full := exec.CommandContext(t.Context(), "sh", "-c", `"$0" status k >/dev/full`, p.command().Path)
	full.Env = p.env
	begin(t, full).mustExit(codeFailed)
	closed := exec.CommandContext(t.Context(), "sh", "-c", `"$0" status k <&- >&-`, p.command().Path)
	closed.Env = p.env
	begin(t, closed).mustExit(codeNo)
}

// TestStoreDownAtTheStart waits for a store, for as long as it takes, or for as long as it was told.
func TestStoreDownAtTheStart(t *testing.T) {
	e := servers.StartEtcd(t)
	e.Kill()
	p := newPerson(t, "etcd://"+e.Endpoint()+"?ttl=2s")
	s := p.start("run", "k", "--", "true")
	s.await(&s.stderr, "level=WARN")
	observer := p.start("observe", "k", "--json")
	observer.await(&observer.stdout, `"state":"unknown"`)
	if _, stderr, code := p.do("status", "k", "--timeout", "1s"); code != codeFailed || !strings.Contains(stderr, "no answer within 1s") {
		t.Errorf("status: exit code %d, %q", code, stderr)
	}
	if stdout, _, code := p.do("doctor", "--timeout", "1s"); code != codeNo || !strings.Contains(stdout, "NO ") {
		t.Errorf("doctor: exit code %d, %q", code, stdout)
	}
	e.Start()
	e.WaitReady()
	s.mustExit(0)
	observer.await(&observer.stdout, `"state":"vacant"`)
}

// TestStoreLostWhileLeading stops the command in time, and stands again when the store is back.
func TestStoreLostWhileLeading(t *testing.T) {
	e := servers.StartEtcd(t)
	const ttl = 4 * time.Second
	p := newPerson(t, "etcd://"+e.Endpoint()+"?ttl="+ttl.String())
	s := p.start("run", "k", "--", "sh", "-c", `trap "echo told; exit 0" TERM; `+live)
	stubborn := p.start("run", "other", "--once", "--", "sh", "-c", `trap "" TERM; `+live)
	polite, rude := s.leads(), stubborn.leads()
	start := time.Now()
	e.Pause()
	s.await(&s.stdout, "told")
	gone(t, polite)
	gone(t, rude)
	for _, s := range []*session{s, stubborn} {
		if ran := s.lived().Sub(start); ran > ttl {
			t.Errorf("a command ran for %v, and the TTL is %v", ran, ttl)
		}
	}
	stubborn.mustExit(codeLost)
	e.Resume()
	servers.Await(t, "another term", func(context.Context) error {
		if strings.Count(s.stdout.String(), "pid ") < 2 {
			return errors.New("not yet")
		}
		return nil
	})
	s.signal(unix.SIGTERM)
	s.mustExit(0) // what the command exits with
}

// TestResign has the run that leads step down, and no other.
func TestResign(t *testing.T) {
	onStores(t, func(t *testing.T, p *person) {
		first := p.start("run", "k", "--value", "ada", "--", "sh", "-c", stay)
		pid := first.leads()
		second := p.start("run", "k", "--value", "bob", "--", "sh", "-c", stay)
		second.await(&second.stderr, "leader=ada")
		stdout, _, code := p.do("resign", "k")
		if code != 0 || !strings.HasPrefix(stdout, "resigned, token ") {
			t.Errorf("exit code %d, %q", code, stdout)
		}
		if alive(pid) {
			t.Error("its command lives")
		}
		second.leads()
		first.await(&first.stderr, "leader=bob")
		second.signal(unix.SIGKILL)
		second.mustExit(137)
		servers.Await(t, "the first to lead again", func(context.Context) error {
			if strings.Count(first.stdout.String(), "pid ") < 2 {
				return errors.New("not yet")
			}
			return nil
		})
		if stdout, _, code := p.do("resign", "k"); code != 0 { // the socket of the second is dead
			t.Errorf("exit code %d, %q", code, stdout)
		}
		if _, stderr, code := p.do("resign", "elsewhere"); code != codeNo {
			t.Errorf("another key: exit code %d, %q", code, stderr)
		}
	})
}
