package backendurl_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hustings-go/hustings/backend/backendurl"
	"github.com/hustings-go/hustings/backend/memory"
	"github.com/hustings-go/hustings/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// served and local are openers of the two kinds that there are: with servers, and without.
var (
	served = backendurl.Opener{Scheme: "served", Port: "1234", Path: "a number", Params: []backendurl.Param{{Name: "own", Usage: "its own"}}}
	local  = backendurl.Opener{Scheme: "local", Path: "a folder"}
	bare   = backendurl.Opener{Scheme: "bare", Port: "99", Server: "127.0.0.1"}
)

func parse(raw string) (*backendurl.URL, error) { return backendurl.Parse(raw, served, local, bare) }

func TestParse(t *testing.T) {
	for raw, want := range map[string]struct {
		text, user, password, path string
		servers                    []string
	}{
		"served://host":                     {text: "served://host:1234", servers: []string{"host:1234"}},
		"served://host/":                    {text: "served://host:1234", servers: []string{"host:1234"}},
		"served://a:1,b,[::1]:2,[fe80::1]":  {text: "served://a:1,b:1234,[::1]:2,[fe80::1]:1234", servers: []string{"a:1", "b:1234", "[::1]:2", "[fe80::1]:1234"}},
		"served://u@h/3?own=x":              {text: "served://u@h:1234/3?own=x", user: "u", path: "/3", servers: []string{"h:1234"}},
		"served://u:p%40%2F%3a%25@h?ttl=9s": {text: "served://u@h:1234?ttl=9s", user: "u", password: "p@/:%", servers: []string{"h:1234"}},
		"served://:p:q@h":                   {text: "served://h:1234", password: "p:q", servers: []string{"h:1234"}},
		"served://%20u%40:p@h":              {text: "served://%20u%40@h:1234", user: " u@", password: "p", servers: []string{"h:1234"}},
		"local:///var/a%20b":                {text: "local:///var/a%20b", path: "/var/a b"},
		"bare://":                           {text: "bare://127.0.0.1:99", servers: []string{"127.0.0.1:99"}},
	} {
		u, err := parse(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if u.String() != want.text || u.User() != want.user || u.Password() != want.password || u.Path() != want.path || !slices.Equal(u.Servers(), want.servers) {
			t.Errorf("%s: %v, user %q, password %q, path %q, servers %q", raw, u, u.User(), u.Password(), u.Path(), u.Servers())
		}
		again, err := parse(u.String())
		if err != nil || again.String() != u.String() {
			t.Errorf("%s: its text is parsed as %v, error %v", raw, again, err)
		}
	}
}

// TestBadURLs refuses all that cannot be meant, and never says a part of the password.
func TestBadURLs(t *testing.T) {
	for raw, want := range map[string]string{
		"":                            "served://, local:// or bare://",
		"s3cr3t":                      "must begin with",
		"http://u:s3cr3t@h":           "must begin with",
		"://s3cr3t@h":                 "must begin with",
		"served://":                   "names no server",
		"served://u:s3cr%zzt@h":       "escape",
		"served://u:s3cr3t@h:port":    "server 1 has a port",
		"served://u:s3cr3t@h:0":       "server 1 has a port",
		"served://u:s3cr3t@h:65536":   "server 1 has a port",
		"served://u:s3cr3t@h:":        "server 1 has a port",
		"served://u:s3cr3t@a,:1":      "server 2 is no host",
		"served://u:s3cr3t@a,,b":      "server 2 is no host",
		"served://u:s3cr3t@::1":       "server 1 is no host",
		"served://u:s3cr3t@[::1":      "server 1",
		"served://u:s3cr3t@[x]":       "server 1 is no IPv6",
		"served://u:s3cr3t@a b":       "server 1 is no host",
		"served://u:s3c/r3t@h":        "out of place",
		"served://u:s3c?r3t@h":        "out of place",
		"served://u:s3c#r3t@h":        "#",
		"served://u:s3c@r3t@h":        "out of place",
		"served://:s3c/r3t":           "server 1",
		"served://h/%zz?own=s3cr3t":   "escape",
		"served://h?s3cr3t":           "and no other",
		"served://h?pass=s3cr3t":      "and no other",
		"served://h?own=s3cr%zzt":     "escape",
		"served://h?own=1&own=s3cr3t": "2 times",
		"served://h?ttl=s3cr3t":       "ttl",
		"served://h?ttl=10":           "ttl",
		"served://h?ttl=0s":           "ttl",
		"served://h?ttl=-5s":          "ttl",
		"served://h?tls=s3cr3t":       "on or off",
		"bare://u:s3cr3t@h/path":      "no path",
		"local://u:s3cr3t@/path":      "no server",
		"local://s3cr3t/path":         "no server",
		"local:///p?tls=on":           "and no other",
		"served://h\x00:s3cr3t":       "server 1",
	} {
		u, err := parse(raw)
		if err == nil {
			t.Errorf("%q is taken, as %v", raw, u)
			continue
		}
		if !strings.Contains(err.Error(), want) || !retry.IsPermanent(err) {
			t.Errorf("%q: %v; want a permanent error with %q", raw, err, want)
		}
		for _, part := range []string{"s3c", "r3t"} {
			if strings.Contains(err.Error(), part) {
				t.Errorf("%q: the error tells the password: %v", raw, err)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("served://u:p@h:1,[::1]/3?ttl=15s&own=x")
	f.Add("local:///a%20b")
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := parse(raw)
		if err != nil {
			return
		}
		again, err := parse(u.String())
		if err != nil || again.String() != u.String() {
			t.Errorf("%q is %q, which is %v, error %v", raw, u, again, err)
		}
	})
}

func TestNoVerbTellsThePassword(t *testing.T) {
	u, err := parse("served://ada:s3cr3t@h")
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", slog.Any("url", u))
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", slog.Any("url", u))
	for _, text := range []string{fmt.Sprint(u), fmt.Sprintf("%v %+v %#v %s %q %x %d", u, u, u, u, u, u, u), log.String()} {
		if strings.Contains(text, "s3cr3t") || !strings.Contains(text, "ada@h") {
			t.Errorf("printed %q", text)
		}
	}
}

// TestTLS is on by itself wherever there is something to protect.
func TestTLS(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]struct {
		secure   bool
		warnings int
		err      string
	}{
		"//h":                           {},
		"//h?tls=off":                   {},
		"//h?tls=on":                    {secure: true},
		"//u:p@h":                       {secure: true},
		"//u@h":                         {secure: true},
		"//h?password-file=x":           {secure: true},
		"//u:p@h?tls=off":               {warnings: 1},
		"//h?insecure-skip-verify=true": {secure: true, warnings: 1},
		"//h?server-name=x":             {secure: true},
		"//h?server-name=x&tls=off":     {err: "server-name is given together with tls=off"},
		"//h?cacert=" + missing:         {err: "missing"},
		"//h?cacert=" + empty:           {err: "no certificate in PEM"},
		"//h?cert=" + empty:             {err: "go together"},
		"//h?cert-key=" + empty:         {err: "go together"},
		"//h?cert=" + empty + "&cert-key=" + empty: {err: "client's certificate"},
	} {
		u, err := parse("served:" + query)
		if err != nil {
			t.Fatal(err)
		}
		config, err := u.TLS()
		if want.err != "" {
			if err == nil || !strings.Contains(err.Error(), want.err) || !retry.IsPermanent(err) {
				t.Errorf("%s: %v", query, err)
			}
			continue
		}
		if err != nil || (config != nil) != want.secure || len(u.Warnings()) != want.warnings {
			t.Errorf("%s: TLS %v, warnings %q, error %v", query, config != nil, u.Warnings(), err)
		}
	}
}

// TestOpen hands the URL to the opener of its scheme, and closes what that opened in order.
func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte("s3cr3t\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	freed := false
	opener := served
	opener.Open = func(_ context.Context, u *backendurl.URL) (*backendurl.Store, error) {
		if u.Password() != "s3cr3t" || u.TTL() != 7*time.Second || u.Param("own") != "x" || u.Scheme() != "served" {
			t.Errorf("opened %v with the password %q", u, u.Password())
		}
		b, err := memory.New()
		return &backendurl.Store{Backend: b, Free: func() error { freed = true; return errors.New("freed") }}, err
	}
	store, err := backendurl.Open(t.Context(), "served://u@h?ttl=7s&own=x&password-file="+path, local, opener)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err == nil || !freed {
		t.Errorf("closed with error %v, freed %v", err, freed)
	}
	for _, raw := range []string{"served://h?password-file=/no/such", "served://h?password-file=" + os.DevNull, "nope://"} {
		if _, err := backendurl.Open(t.Context(), raw, opener); !retry.IsPermanent(err) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
