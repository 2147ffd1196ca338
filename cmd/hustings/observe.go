package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/hustings-go/hustings/election"
)

// statusTimeout is how long status and doctor wait for a store, unless they are told otherwise.
const statusTimeout = 10 * time.Second

// leastTimeout is the shortest that --timeout takes: nothing is heard in less.
const leastTimeout = time.Millisecond

func (a *app) observeCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "observe KEY",
		Short: "Tell who leads, and every change",
		Long: `Observe prints who leads KEY now, and a line for every change after that, until it is interrupted. It needs only the
right to read. When the store fails it says so on standard error, and goes on by itself.

For people, a line is a time, and the leader's value as a quoted string with its fencing token, or "nobody
leads". With --json it is an object with the fields
  time           when it was seen
  state          "led", "vacant", or "unknown" while the store cannot be asked
  token          the fencing token
  value          what the leader announced; value_base64 in its place where that is no valid UTF-8
  error          in the state "unknown": why`,
		Example: `  hustings observe nightly
  hustings observe nightly --json | jq -r 'select(.state == "led").value'`,
		Args: keyArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.observe(cmd.Context(), args[0], asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object per line")
	return cmd
}

func (a *app) observe(ctx context.Context, key string, asJSON bool) error {
	u, err := a.checked(key)
	if err != nil {
		return err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	log := a.logger()
	defer a.reach(ctx, u, log)()
	store, err := a.open(ctx, u, log)
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { _ = store.Close() }() // an observer leaves nothing behind
	var last error                       // the one that ends the loop, unless a signal does
	for l, err := range election.Observe[[]byte](ctx, store, key, election.WithLogger(log)) {
		last = err
		if err != nil && !asJSON {
			continue // the log has told it
		}
		if err := tell(a.stdout, sighting{leader: l, err: err, at: time.Now()}, asJSON); err != nil {
			return err
		}
	}
	return interrupted(ctx, last)
}

func (a *app) statusCommand() *cobra.Command {
	var asJSON bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "status KEY",
		Short: "Tell who leads now",
		Long: `Status prints who leads KEY, in the form of "hustings observe", and exits with 0 when somebody does, with 1 when
nobody does, and with 125 when the store does not tell within the timeout.`,
		Example: `  hustings status nightly
  hustings status nightly --json
  if hustings status nightly >/dev/null; then echo "taken"; fi`,
		Args: keyArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.status(cmd.Context(), args[0], asJSON, timeout)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	cmd.Flags().DurationVar(&timeout, "timeout", statusTimeout, "`duration` to wait for the store")
	return cmd
}

func (a *app) status(ctx context.Context, key string, asJSON bool, timeout time.Duration) error {
	u, err := a.checked(key)
	if err != nil {
		return err
	}
	if err := noLess("timeout", timeout, leastTimeout); err != nil {
		return err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	bounded, cancel := context.WithTimeoutCause(ctx, timeout, noAnswer{timeout})
	defer cancel()
	defer a.reach(bounded, u, a.logger())()
	store, err := a.open(bounded, u, a.logger())
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { _ = store.Close() }() // as above
	var last error
	for l, err := range election.Observe[[]byte](bounded, store, key, election.WithLogger(slog.New(slog.DiscardHandler))) {
		if last = err; err != nil {
			continue // it goes on, until the timeout
		}
		if err := tell(a.stdout, sighting{leader: l, at: time.Now()}, asJSON); err != nil {
			return err
		}
		if l.Vacant() {
			return &exit{code: codeNo}
		}
		return nil
	}
	return interrupted(ctx, fmt.Errorf("who leads %q is not known: %w (\"hustings doctor\" looks closer)", key, silence(bounded, last)))
}

// noAnswer is the cause of a context whose time was up.
type noAnswer struct{ within time.Duration }

func (e noAnswer) Error() string { return fmt.Sprintf("no answer within %v", e.within) }

func (e noAnswer) Unwrap() error { return context.DeadlineExceeded }

// silence is why there was no answer: the end of ctx, and what was heard last, where that says more.
func silence(ctx context.Context, last error) error {
	cause := context.Cause(ctx)
	if cause == nil || last == nil || last == ctx.Err() { //nolint:errorlint // bare, it says no more
		return cmp.Or(cause, last)
	}
	return fmt.Errorf("%w: %w", cause, last)
}

// sighting is what was seen of an election at one moment.
type sighting struct {
	leader election.Leader[[]byte]
	err    error
	at     time.Time
}

// tell prints a sighting as a line.
func tell(w io.Writer, s sighting, asJSON bool) error {
	if asJSON {
		line, err := json.Marshal(s)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", line)
		return err
	}
	what := "nobody leads"
	if !s.leader.Vacant() {
		what = fmt.Sprintf("%s leads, token %d", quoted(s.leader.Value), s.leader.Token)
	}
	_, err := fmt.Fprintf(w, "%s  %s\n", s.at.Format(time.RFC3339), what)
	return err
}

// MarshalJSON is the form for programs.
func (s sighting) MarshalJSON() ([]byte, error) {
	line := struct {
		Time   time.Time `json:"time"`
		State  string    `json:"state"`
		Token  uint64    `json:"token,omitempty"`
		Value  *string   `json:"value,omitempty"`
		Base64 []byte    `json:"value_base64,omitempty"`
		Error  string    `json:"error,omitempty"`
	}{Time: s.at, State: "led", Token: s.leader.Token}
	switch value := string(s.leader.Value); {
	case s.err != nil:
		line.State, line.Error, line.Token = "unknown", s.err.Error(), 0
	case s.leader.Vacant():
		line.State = "vacant"
	case utf8.ValidString(value):
		line.Value = &value
	default:
		line.Base64 = s.leader.Value
	}
	return json.Marshal(line)
}
