package backendurl

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hustings-go/hustings/retry"
)

// URL is a parsed URL of a store. Its text, in whatever format it is printed, has no password.
type URL struct {
	opener   Opener
	user     string
	password string
	servers  []string
	path     string
	params   map[string]string
}

// bad is an error of a URL. It must not quote what may be part of a password.
func bad(format string, args ...any) error {
	return wrong("the backend URL cannot be used: "+format, args...)
}

// wrong is an error of a parameter, wherever it came from. It must not quote either.
func wrong(format string, args ...any) error { return retry.Permanent(fmt.Errorf(format, args...)) }

// Parse takes a URL apart, and refuses what the opener of its scheme does not know. Nothing is opened.
func Parse(raw string, openers ...Opener) (*URL, error) {
	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		scheme = ""
	}
	o, err := find(scheme, openers)
	if err != nil {
		return nil, err
	}
	u := &URL{opener: o, params: make(map[string]string)}
	if strings.Contains(rest, "#") {
		return nil, bad("it holds a #, which is written %%23")
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, slash := strings.Cut(rest, "/")
	if strings.Count(authority, "@") > 1 || strings.Contains(path+query, "@") {
		return nil, bad("it holds an @ that is out of place; in a user name or password / ? # @ : and %% are written %%2F %%3F %%23 %%40 %%3A %%25")
	}
	if err := u.parseServers(authority); err != nil {
		return nil, err
	}
	if slash {
		if u.path, err = url.PathUnescape("/" + path); err != nil {
			return nil, bad("its path holds a bad %% escape")
		}
	}
	if u.path == "/" && o.Port != "" {
		u.path = ""
	}
	if u.path != "" && o.Path == "" {
		return nil, bad("%s URLs have no path", o.Scheme)
	}
	return u, u.parseQuery(query)
}

// parseServers takes apart what stands between the scheme and the path.
func (u *URL) parseServers(authority string) error {
	userinfo, list, found := strings.Cut(authority, "@")
	if !found {
		userinfo, list = "", authority
	}
	if u.opener.Port == "" {
		if authority != "" {
			return bad("%s URLs name no server and no user: three slashes follow the colon", u.opener.Scheme)
		}
		return nil
	}
	name, password, _ := strings.Cut(userinfo, ":")
	var err1, err2 error
	u.user, err1 = url.PathUnescape(name)
	u.password, err2 = url.PathUnescape(password)
	if err1 != nil || err2 != nil {
		return bad("its user name or password holds a bad %% escape; a %% is written %%25")
	}
	if list == "" {
		list = u.opener.Server
	}
	if list == "" {
		return bad("it names no server")
	}
	for i, s := range strings.Split(list, ",") {
		server, err := u.parseServer(s)
		if err != nil {
			return bad("server %d %w", i+1, err)
		}
		u.servers = append(u.servers, server)
	}
	return nil
}

// parseServer adds the port where it is missing. It does not go by net/url, whose errors quote.
func (u *URL) parseServer(s string) (string, error) {
	host, port := s, u.opener.Port
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host, port = s[:i], s[i+1:]
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("has a port that is not a number from 1 to 65535")
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		if !ok || net.ParseIP(inner) == nil {
			return "", fmt.Errorf("is no IPv6 address in brackets")
		}
		return net.JoinHostPort(inner, port), nil
	}
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(".-_", r)
	}
	if host == "" || strings.ContainsFunc(host, func(r rune) bool { return !plain(r) }) {
		return "", fmt.Errorf("is no host name (an IPv6 address stands in brackets)")
	}
	return net.JoinHostPort(host, port), nil
}

func (u *URL) parseQuery(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return bad("its parameters hold a bad %% escape or a semicolon")
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) > 1 {
			return bad("a parameter is given %d times", len(values[name]))
		}
		if err := u.Set(name, values[name][0]); err != nil {
			return bad("%w", err)
		}
	}
	return nil
}

// Set sets a parameter as if it stood in the URL, in place of what stands there. Its errors say what is allowed, and
// leave it to the caller to say where the parameter came from.
func (u *URL) Set(name, value string) error {
	var names []string
	for _, p := range u.opener.AllParams() {
		names = append(names, p.Name)
	}
	if !slices.Contains(names, name) {
		return wrong("%s URLs know the parameters %s, and no other", u.opener.Scheme, strings.Join(names, ", "))
	}
	if err := check(name, value); err != nil {
		return err
	}
	u.params[name] = value
	return nil
}

// AllParams returns all parameters that URLs of the scheme take.
func (o Opener) AllParams() []Param {
	params := []Param{
		{"ttl", "how long the key stays taken after its holder was last heard of: a `duration` such as 15s"},
		{"name", "readable `name` for the session, where the store or its errors show one"},
	}
	if o.Port != "" {
		params = append(params, serverParams()...)
	}
	return append(params, o.Params...)
}

func check(name, value string) error {
	switch name {
	case "ttl":
		if d, err := time.ParseDuration(value); err != nil || d <= 0 {
			return wrong("ttl is a positive duration with a unit, such as 15s")
		}
	case "tls":
		if value != "on" && value != "off" {
			return wrong("tls is on or off")
		}
	case "insecure-skip-verify":
		if value != "true" && value != "false" {
			return wrong("insecure-skip-verify is true or false")
		}
	}
	return nil
}

// SetPassword sets the password, in place of one that stands in the URL.
func (u *URL) SetPassword(password string) { u.password = password }

// Scheme returns what the URL begins with.
func (u *URL) Scheme() string { return u.opener.Scheme }

// Servers returns the servers, each as host:port.
func (u *URL) Servers() []string { return slices.Clone(u.servers) }

// TakesPassword reports whether there are servers that could want one.
func (u *URL) TakesPassword() bool { return u.opener.Port != "" }

// User returns the user's name, or "".
func (u *URL) User() string { return u.user }

// Password returns the password, for the store's client alone.
func (u *URL) Password() string { return u.password }

// HasPassword reports whether there is a password, or a file with one.
func (u *URL) HasPassword() bool { return u.password != "" || u.params["password-file"] != "" }

// Path returns the path, without escapes.
func (u *URL) Path() string { return u.path }

// Param returns a parameter, or "" where it was not given.
func (u *URL) Param(name string) string { return u.params[name] }

// TTL returns the TTL that is asked for, or 0 where the store's default is meant.
func (u *URL) TTL() time.Duration {
	d, err := time.ParseDuration(u.params["ttl"])
	if err != nil {
		return 0 // not given: Set let no other in
	}
	return d
}

// settle reads the password from its file and looks at what goes together.
func (u *URL) settle() error {
	if path := u.params["password-file"]; path != "" && u.password == "" {
		f, err := os.Open(path)
		if err != nil {
			return retry.Permanent(fmt.Errorf("the password file: %w", err))
		}
		defer func() { _ = f.Close() }() // it was only read
		const longest = 64 << 10
		text, err := io.ReadAll(io.LimitReader(f, longest))
		if err != nil {
			return retry.Permanent(fmt.Errorf("the password file: %w", err))
		}
		u.password = strings.TrimRight(string(text), "\r\n")
		if u.password == "" {
			return retry.Permanent(fmt.Errorf("the password file %q is empty", path))
		}
	}
	return nil
}

// String returns the URL without its password.
func (u *URL) String() string {
	var s strings.Builder
	s.WriteString(u.opener.Scheme + "://")
	if u.user != "" {
		s.WriteString(url.User(u.user).String() + "@")
	}
	s.WriteString(strings.Join(u.servers, ","))
	s.WriteString((&url.URL{Path: u.path}).EscapedPath())
	values := make(url.Values)
	for name, value := range u.params {
		values.Set(name, value)
	}
	if len(values) > 0 {
		s.WriteString("?" + values.Encode())
	}
	return s.String()
}

// Format prints String for every verb, so that no verb shows the password.
func (u *URL) Format(s fmt.State, _ rune) { fmt.Fprint(s, u.String()) }

// LogValue has logs show String.
func (u *URL) LogValue() slog.Value { return slog.StringValue(u.String()) }
