package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/backendurl"
	"github.com/hustings-go/hustings/retry"
)

// doctorKey is where the doctor stands for election: below the key it is asked about, where the same rights count
// and no candidate of that key is met.
const doctorKey = "hustings-doctor"

// ttlSlack says by what part of a TTL a grant may be shorter without a word.
const ttlSlack = 10

func (a *app) doctorCommand() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "doctor [KEY]",
		Short: "Find out whether a store can be used, and with which rights",
		Long: `Doctor does with the store what a candidate does, and says what works: it reaches the servers, asks for their version,
stands for election, leads, renews, announces another value, is observed, and resigns. It does so under KEY/` + doctorKey + `, or
` + doctorKey + ` without KEY, where it is in nobody's way and where the rights on what is below KEY count. It exits with 1
when something is wrong.`,
		Example: `  hustings doctor
  hustings doctor service/billing --backend etcd://billing@etcd1,etcd2 --password-file /run/secrets/etcd`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return errors.New("doctor takes one KEY, or none: hustings doctor [KEY]")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			key := doctorKey
			if len(args) > 0 {
				if err := backend.ValidateKey(args[0]); err != nil { // as it was given
					return err
				}
				key = args[0] + "/" + doctorKey
			}
			return a.doctor(cmd.Context(), key, timeout)
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", statusTimeout, "`duration` that each step may take")
	return cmd
}

// checkup is one visit of the doctor.
type checkup struct {
	out     io.Writer
	key     string
	timeout time.Duration
	store   *backendurl.Store
	lease   backend.Lease
	sick    bool
}

func (a *app) doctor(ctx context.Context, key string, timeout time.Duration) error {
	u, err := a.checked(key)
	if err != nil {
		return err
	}
	if err := noLess("timeout", timeout, leastTimeout); err != nil {
		return err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	c := &checkup{out: a.stdout, key: key, timeout: timeout}
	fmt.Fprintf(c.out, "the store:  %s\n", printable(u.String()))
	c.visit(ctx, u)
	if ctx.Err() != nil {
		return interrupted(ctx, ctx.Err())
	}
	if c.sick {
		fmt.Fprintln(c.out, "This store cannot be used as it is.")
		return &exit{code: codeNo}
	}
	fmt.Fprintln(c.out, "All is well.")
	return nil
}

// visit takes one step after the other, until one fails.
func (c *checkup) visit(ctx context.Context, u *backendurl.URL) {
	for _, w := range u.Warnings() {
		c.say("!", "%s", w)
	}
	if !c.reach(ctx, u) {
		return
	}
	if !c.step(ctx, "the store can be opened", func(ctx context.Context) (err error) {
		c.store, err = u.Open(ctx)
		return err
	}) {
		return
	}
	defer func() { _ = c.store.Close() }() // what is left expires
	if c.store.Inspect != nil {
		for _, f := range c.store.Inspect(ctx) {
			if f.Problem == "" {
				c.say("ok", "%s", f.Text)
			} else {
				c.say("!", "%s: %s", f.Text, f.Problem)
			}
		}
	}
	value := []byte(doctorKey)
	if !c.step(ctx, "an observer can read", func(ctx context.Context) error { return c.observe(ctx, nil) }) {
		return
	}
	if !c.step(ctx, "a candidate can win", func(ctx context.Context) (err error) {
		c.lease, err = c.store.Campaign(ctx, c.key, value)
		return err
	}) {
		return
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
		defer cancel()
		_ = c.lease.Resign(ctx) // again, for those who left early; what cannot be removed expires
	}()
	// A grant may be a little less than was asked for, where it counts from an earlier moment.
	if granted, asked := c.lease.Grant().TTL, c.store.TTL(); granted > asked || granted < asked-asked/ttlSlack {
		c.say("!", "the store grants a TTL of %v where %v was asked for", granted.Round(time.Millisecond), asked)
	}
	_ = c.step(ctx, "a leader can renew", func(ctx context.Context) error { _, err := c.lease.Renew(ctx); return err }) &&
		c.step(ctx, "a leader can announce another value", func(ctx context.Context) error {
			value = append(value, " was here"...)
			return c.lease.Proclaim(ctx, value)
		}) &&
		c.step(ctx, "an observer sees it, with the leader's token", func(ctx context.Context) error { return c.observe(ctx, value) }) &&
		c.step(ctx, "a leader can resign", c.lease.Resign) &&
		c.step(ctx, "an observer sees that, too", func(ctx context.Context) error { return c.observe(ctx, nil) })
}

// step tries something, and tells how it went.
func (c *checkup) step(ctx context.Context, what string, try func(ctx context.Context) error) bool {
	bounded, cancel := context.WithTimeoutCause(ctx, c.timeout, noAnswer{c.timeout})
	defer cancel()
	err := try(bounded)
	if err == nil {
		c.say("ok", "%s", what)
		return true
	}
	if bounded.Err() != nil {
		err = silence(bounded, err)
	}
	c.no(what, err)
	return false
}

// no tells that something does not work.
func (c *checkup) no(what string, err error) {
	c.sick = true
	c.say("NO", "%s: %v", what, err)
	if a := advice(err); a != "" {
		c.say("  ", "%s", a)
	}
}

// reach connects to each server. One that answers is enough.
func (c *checkup) reach(ctx context.Context, u *backendurl.URL) bool {
	if _, err := u.TLS(); err != nil {
		c.no("the certificates can be used", err)
		return false
	}
	var failed []error
	for _, server := range u.Servers() {
		if err := u.Reach(ctx, server); err != nil {
			failed = append(failed, err)
		} else {
			c.say("ok", "the server %s takes connections", server)
		}
	}
	if len(failed) > 0 && len(failed) == len(u.Servers()) {
		c.no("a server can be reached", errors.Join(failed...))
		return false
	}
	for _, err := range failed {
		c.say("!", "%v", err)
	}
	return true
}

func (c *checkup) say(mark, format string, args ...any) {
	fmt.Fprintf(c.out, "%-3s %s\n", mark, printable(strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ")))
}

// observe waits until an observer sees value, led under our token, or, without a value, what there is.
func (c *checkup) observe(ctx context.Context, value []byte) error {
	for l, err := range c.store.Observe(ctx, c.key) {
		switch {
		case err != nil:
			return err
		case value == nil:
			return nil
		case bytes.Equal(l.Value, value) && l.Token == c.lease.Token():
			return nil
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.New("it was not seen")
}

// advice is what to do about an error, where its text leaves that open.
func advice(err error) string {
	text := err.Error()
	switch {
	case errors.Is(err, backend.ErrDenied):
		return "The store knows this user and refuses. The rights that are needed stand in the documentation of the backend's package."
	case strings.Contains(text, "does not look like a TLS handshake"), strings.Contains(text, "TLS: EOF"), strings.Contains(text, "no answer in TLS"):
		return "The server does not seem to speak TLS. --tls off sends all in the open, credentials too."
	case errors.Is(err, syscall.ECONNREFUSED):
		return "Nobody listens there: is the server up, are the address and the port right?"
	case strings.Contains(text, "x509:"), strings.Contains(text, "certificate"):
		return "The two sides do not trust each other's certificate: see --cacert, --cert, --cert-key and --server-name."
	case retry.IsPermanent(err):
		return "No waiting mends this."
	case errors.Is(err, context.DeadlineExceeded):
		return "Nobody answers: is the server up, is the address right, does a firewall stand between? Does the server want TLS (--tls on)?"
	}
	return ""
}
