//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hustings-go/hustings/internal/servers"
)

// TestDemo plays it to the end, as lines and as lanes, where locks stay with the stopped and where leases end.
func TestDemo(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"file": {nil, []string{"the kernel keeps the lock", "after kill -CONT     the next one led after"}},
		"etcd": {[]string{"--backend", "etcd://" + servers.StartEtcd(t).Endpoint()}, []string{"after kill -STOP     the next one led after"}},
	} {
		want := append(c.want, "ada", "bob", "cyd", "token ", "kill -9", "after kill -9        the next one led after",
			"after a resignation  the next one led after", "goes on", "all leave", "has left")
		t.Run(name, func(t *testing.T) {
			p := newPerson(t, "no URL: it is not heeded")
			start := time.Now()
			s := p.start(append([]string{"demo"}, c.args...)...)
			s.mustExit(0)
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
			checkDemo(t, s.stdout.String(), want)
			if strings.ContainsAny(s.stdout.String(), "\x1b█") || s.stderr.String() != "" {
				t.Errorf("lines have lanes, or complaints: %q", s.stderr.String())
			}
		})
		t.Run(name+" in a terminal", func(t *testing.T) {
			p := newPerson(t, "no URL: it is not heeded")
			s := p.sit(append([]string{"demo"}, c.args...)...)
			s.mustExit(0)
			checkDemo(t, s.stdout.String(), append(want, "█", "▒", "│", "\x1b["))
		})
	}
}

func checkDemo(t *testing.T, text string, want []string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("the demo does not show %q", w)
		}
	}
}

// TestInterruptedDemo leaves nothing running and nothing behind.
func TestInterruptedDemo(t *testing.T) {
	p := newPerson(t, "")
	s := p.sit("demo")
	s.await(&s.stdout, "kill -9")
	s.press("\x03")
	s.mustExit(130)
	for _, v := range p.env {
		dir, found := strings.CutPrefix(v, "TMPDIR=")
		if !found {
			continue
		}
		if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 0 {
			t.Errorf("left %q, error %v", left, err)
		}
	}
}

// TestDefaultBackend keeps files in the user's state folder.
func TestDefaultBackend(t *testing.T) {
	p := newPerson(t, "")
	home := t.TempDir()
	p.env = append(p.env, "HOME="+home)
	p.start("run", "k", "--", "true").mustExit(0)
	if _, err := os.Stat(filepath.Join(home, ".local", "state", "hustings", "k")); err != nil {
		t.Error(err)
	}
	state := t.TempDir()
	p.env = append(p.env, "XDG_STATE_HOME="+state)
	p.start("run", "k", "--", "true").mustExit(0)
	if _, err := os.Stat(filepath.Join(state, "hustings", "k")); err != nil {
		t.Error(err)
	}
	p.env = append(p.env, "HOME=", "XDG_STATE_HOME=relative")
	if _, stderr, code := p.do("run", "k", "--", "true"); code != codeFailed || !strings.Contains(stderr, "$HOME") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}
