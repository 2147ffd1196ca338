package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/backendurl"
	"github.com/hustings-go/hustings/backend/consul/consulurl"
	"github.com/hustings-go/hustings/backend/etcd/etcdurl"
	"github.com/hustings-go/hustings/backend/file/fileurl"
	"github.com/hustings-go/hustings/backend/rediskv/redisurl"
	"github.com/hustings-go/hustings/backend/zookeeper/zookeeperurl"
	"github.com/hustings-go/hustings/retry"
)

const (
	backendVar  = "HUSTINGS_BACKEND"
	passwordVar = "HUSTINGS_PASSWORD"
)

// silent keeps a client from writing to standard error by itself. What matters it also returns.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// openers are the stores that the command knows.
func openers() []backendurl.Opener {
	return []backendurl.Opener{
		fileurl.Opener(),
		etcdurl.Opener(),
		consulurl.Opener(),
		zookeeperurl.Opener(),
		redisurl.Opener(),
	}
}

// commonParams are the parameters of URLs that are flags, too.
func commonParams() []backendurl.Param {
	return backendurl.Opener{Port: "0"}.AllParams()
}

// backendsHelp lists the stores and what their URLs can say.
func (a *app) backendsHelp() string {
	var s strings.Builder
	for _, o := range openers() {
		fmt.Fprintf(&s, "  %s\n", o.Example)
		if o.Path != "" {
			fmt.Fprintf(&s, "      the path is %s\n", o.Path)
		}
		for _, p := range o.Params {
			fmt.Fprintf(&s, "      %s: %s\n", p.Name, strings.ReplaceAll(p.Usage, "`", ""))
		}
	}
	s.WriteString("  The flags --ttl, --name and those of TLS can stand in the URL as well: ?ttl=5s&cacert=/etc/ca.pem")
	return s.String()
}

// target returns the URL of the store that the flags and the environment name.
func (a *app) target() (*backendurl.URL, error) {
	u, err := a.parse()
	if err != nil {
		return nil, err
	}
	for name, value := range a.flags.params {
		if *value == "" {
			continue
		}
		if err := u.Set(name, *value); err != nil {
			return nil, fmt.Errorf("--%s: %w", name, err)
		}
	}
	if !u.TakesPassword() {
		return u, nil
	}
	if a.flags.prompt {
		password, err := prompt(u)
		if err != nil {
			return nil, err
		}
		u.SetPassword(password)
	} else if p := a.env.get(passwordVar); p != "" && !u.HasPassword() {
		u.SetPassword(p)
	}
	return u, nil
}

func (a *app) parse() (*backendurl.URL, error) {
	if a.flags.backend == "" {
		raw := a.env.get(backendVar)
		if raw == "" {
			var err error
			if raw, err = a.defaultBackend(); err != nil {
				return nil, err
			}
		}
		u, err := backendurl.Parse(raw, openers()...)
		if err != nil {
			return nil, fmt.Errorf("$%s: %w", backendVar, err)
		}
		return u, nil
	}
	u, err := backendurl.Parse(a.flags.backend, openers()...)
	if err != nil {
		return nil, fmt.Errorf("--backend: %w", err)
	}
	if u.Password() != "" {
		return nil, fmt.Errorf("a password on the command line is seen by all users of the machine: put it into $%s, $%s or a --password-file, or use --password-prompt", backendVar, passwordVar)
	}
	return u, nil
}

// defaultBackend is the file backend in the user's state folder.
func (a *app) defaultBackend() (string, error) {
	state := a.env.get("XDG_STATE_HOME")
	if !filepath.IsAbs(state) { // as the specification wants it
		home := a.env.get("HOME")
		if !filepath.IsAbs(home) {
			return "", fmt.Errorf("no --backend, no $%s, and no $HOME to keep files in", backendVar)
		}
		state = filepath.Join(home, ".local", "state")
	}
	return "file://" + (&url.URL{Path: filepath.ToSlash(filepath.Join(state, "hustings"))}).EscapedPath(), nil
}

// prompt asks for the password on the terminal itself: standard input may be the command's.
func prompt(u *backendurl.URL) (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("--password-prompt needs a terminal: %w", err)
	}
	defer func() { _ = tty.Close() }() // nothing is lost
	defer mute(int(tty.Fd()))()        // before it asks, as an answer may come at once
	fmt.Fprintf(tty, "Password for %s: ", printable(u.String()))
	password, err := term.ReadPassword(int(tty.Fd()))
	fmt.Fprintln(tty)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return string(password), nil
}

// open opens the store, again and again while the trouble may pass.
func (a *app) open(ctx context.Context, u *backendurl.URL, log *slog.Logger) (*backendurl.Store, error) {
	for _, w := range u.Warnings() {
		log.WarnContext(ctx, w, slog.Any("backend", u))
	}
	pauses := retry.Policy{}.Start()
	for {
		store, err := u.Open(ctx)
		if err == nil || retry.IsPermanent(err) || ctx.Err() != nil {
			return store, err
		}
		pause := pauses.NextBackOff()
		log.WarnContext(ctx, "the store cannot be opened", slog.Any("err", err), slog.Duration("retry_in", pause))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), err)
		}
	}
}

// reach finds out, on the side, whether any server takes connections, and tells when none does. Some clients try again
// and again by themselves, and say only that the time was up. The function that it returns ends it.
func (a *app) reach(ctx context.Context, u *backendurl.URL, log *slog.Logger) (stop func()) {
	if _, err := u.TLS(); err != nil { // open tells
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var asked sync.WaitGroup
	asked.Go(func() {
		answers := make(chan error, len(u.Servers()))
		for _, server := range u.Servers() {
			go func() { answers <- u.Reach(ctx, server) }()
		}
		var all []error
		for range u.Servers() {
			all = append(all, <-answers)
		}
		if len(all) > 0 && !slices.Contains(all, nil) && ctx.Err() == nil {
			log.WarnContext(ctx, "no server can be reached", slog.Any("err", errors.Join(all...)))
		}
	})
	return func() {
		cancel()
		asked.Wait()
	}
}

// checked is target, for a command about key.
func (a *app) checked(key string) (*backendurl.URL, error) {
	if err := backend.ValidateKey(key); err != nil {
		return nil, err
	}
	return a.target()
}
