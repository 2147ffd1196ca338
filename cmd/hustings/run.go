//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/hustings-go/hustings/backend/backendurl"
	"github.com/hustings-go/hustings/cmd/hustings/internal/keeper"
	"github.com/hustings-go/hustings/election"
)

// defaultGrace is how long a command has between SIGTERM and SIGKILL when the key is still held.
const defaultGrace = 10 * time.Second

// narratePause is how long a candidate must have waited for that to be told.
const narratePause = 100 * time.Millisecond

const valueVar = "HUSTINGS_VALUE"

// longestString is how long one argument or variable of a process may be on Linux, its last NUL included (execve(2)).
const longestString = 128 << 10

// Why a campaign was left by itself.
var (
	errOnce   = errors.New("the one term is over")
	errWaited = errors.New("somebody else led for as long as was to be waited")
)

// runner is `hustings run`.
type runner struct {
	app   *app
	key   string
	value string
	args  []string
	once  bool
	wait  time.Duration // 0: for ever
	grace time.Duration

	url      *backendurl.URL
	log      *slog.Logger
	signals  chan os.Signal
	leave    context.CancelCauseFunc // ends the campaign
	giveUp   *time.Timer             // leaves when nothing was won for so long; nil without wait
	ended    *keeper.Result          // what the command that ended the campaign came to
	store    *backendurl.Store
	election *election.Election[string]
}

func (a *app) runCommand() *cobra.Command {
	r := &runner{app: a}
	cmd := &cobra.Command{
		Use:   "run KEY [flags] -- COMMAND [ARGS…]",
		Short: "Run a command while leading",
		Long: `Run stands for election under KEY and, when it has won, runs COMMAND for as long as it leads. It gives the key up when
COMMAND ends, and exits with its exit code. When the leadership ends first, COMMAND is stopped and run stands again.

COMMAND gets SIGTERM when the lease could not be renewed for so long that it is about to end, and SIGKILL before it
ends in the store; nothing that COMMAND started outlives it: what is left of its process group is killed, and on Linux
also what has left the group. That holds when hustings itself is stopped or killed: a second process, the keeper, sees
to it. What was sent to other machines cannot be called back: have them refuse a HUSTINGS_TOKEN that is lower than
one they have seen.

COMMAND has hustings' standard streams, and the terminal while it runs. In its environment stand
  HUSTINGS_KEY       the key
  HUSTINGS_TOKEN     the fencing token, greater than that of every leader before
  HUSTINGS_VALUE     what is announced as leader
  HUSTINGS_BACKEND   the URL of the store, without a password
HUSTINGS_PASSWORD is taken out of it.

SIGNALS
  INT, TERM, HUP, QUIT   passed to COMMAND's process group; the key is given up when COMMAND has ended. It is
                         killed after --grace, or at the second such signal. Without COMMAND, run leaves at once.
  USR1, USR2, WINCH      passed on, when there is somebody to pass them to`,
		Example: `  # a job of cron, on all machines, that runs on one; it holds the key for longer than the clocks differ
  hustings run nightly --wait 10s -- sh -c 'backup; sleep 60'

  # a service with one active instance, on etcd
  hustings run billing --backend etcd://etcd1,etcd2,etcd3?ttl=10s -- billing-server --port 80

  # once: whoever wins first; the others go on waiting until they win, or are interrupted
  hustings run migrate --once -- sh -c 'migrate --fence "$HUSTINGS_TOKEN"'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if dash := cmd.ArgsLenAtDash(); dash != 1 || len(args) < 2 {
				return errors.New("run takes one KEY, then --, then the command: hustings run KEY -- COMMAND [ARGS…]")
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 0 { // a KEY
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r.key, r.args = args[0], args[1:]
			return r.run(cmd.Context())
		},
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	cmd.Flags().StringVar(&r.value, "value", host, "`text` to announce as leader")
	cmd.Flags().BoolVar(&r.once, "once", false, "leave after one term, however it ended")
	cmd.Flags().DurationVar(&r.wait, "wait", 0, "`duration` to wait for the first term, and then leave (default: for ever)")
	cmd.Flags().DurationVar(&r.grace, "grace", defaultGrace, "`duration` that COMMAND has from SIGTERM to SIGKILL, where the lease lasts that long")
	return cmd
}

// run stands for election until the command has run to its end, or somebody wants it to leave.
func (r *runner) run(ctx context.Context) error {
	u, err := r.app.checked(r.key)
	if err != nil {
		return err
	}
	if err := r.settings(); err != nil {
		return err
	}
	r.url, r.log = u, r.app.logger()
	if _, err := exec.LookPath(r.args[0]); err != nil { // now, and not in the night in which it wins
		return &exit{refusal(err), err}
	}
	ctx, r.leave = context.WithCancelCause(ctx)
	defer r.leave(nil)
	r.catch()
	defer signal.Stop(r.signals)
	if r.wait > 0 {
		r.giveUp = time.AfterFunc(r.wait, func() { r.leave(errWaited) })
		defer r.giveUp.Stop()
	}
	stop := r.heed(ctx) // until there is a command
	defer r.app.reach(ctx, u, r.log)()
	store, err := r.app.open(ctx, u, r.log)
	stop()
	if err != nil {
		return r.left(ctx, err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			r.log.WarnContext(ctx, "closing the store", slog.Any("err", err))
		}
	}()
	r.store = store
	e, err := election.New(store, r.key, r.value, election.WithLogger(r.log), election.WithDrainLimit(max(2*store.TTL(), r.grace+store.TTL())))
	if err != nil {
		return err
	}
	r.election = e
	desk, err := openDesk(ctx, r.app.env, u, r.key, e)
	if err != nil {
		r.log.InfoContext(ctx, "\"hustings resign\" will not find this process", slog.Any("err", err))
	} else {
		defer desk.close()
	}
	return r.campaign(ctx)
}

// settings looks at what the flags say, now, and not in the night in which it wins.
func (r *runner) settings() error {
	if size := len(valueVar) + len("=") + len(r.value) + 1; size > longestString {
		return fmt.Errorf("--value has %d bytes; it has at most %d, because it stands in COMMAND's environment", len(r.value), longestString-size+len(r.value))
	}
	return errors.Join(noLess("wait", r.wait, 0), noLess("grace", r.grace, 0))
}

// campaign is run, when all is prepared.
func (r *runner) campaign(ctx context.Context) error {
	watching, stopWatching := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.narrate(watching)
	}()
	stop := r.heed(ctx)
	err := r.election.Run(ctx, func(ctx context.Context, term *election.Term) error {
		stop()
		err := r.lead(ctx, term)
		stop = r.heed(ctx)
		return err
	})
	stop()
	stopWatching()
	<-watched
	var failed *exit
	switch {
	case r.ended != nil:
		if err != nil && !errors.Is(err, context.Canceled) {
			r.log.WarnContext(ctx, "the key could not be given up; it expires within its TTL", slog.Any("err", err))
		}
		return result(*r.ended)
	case errors.As(err, &failed):
		return err
	default:
		return r.left(ctx, err)
	}
}

// left is err, or, where it was us who left, the exit code that says so.
func (r *runner) left(ctx context.Context, err error) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errOnce):
		return &exit{code: codeLost}
	case errors.Is(cause, errWaited):
		r.log.InfoContext(ctx, "somebody else leads: nothing is run", slog.String("key", r.key))
		return &exit{code: codeLost}
	default:
		return interrupted(ctx, err)
	}
}

// result turns what became of the command into an exit code.
func result(res keeper.Result) error {
	return &exit{res.Code, res.Err}
}

// refusal is the exit code for a command that cannot be run.
func refusal(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return keeper.CodeNotFound
	}
	return keeper.CodeCannotRun
}

// catch takes all signals that are for the command or for hustings, until the end.
func (r *runner) catch() {
	r.signals = make(chan os.Signal, 16)
	for _, s := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
		if !signal.Ignored(s) { // as nohup, and a shell for what it runs in the background, want it
			signal.Notify(r.signals, s)
		}
	}
	signal.Notify(r.signals, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH)
	// A log that nobody reads any more must not end a leader. Ignored, it would be ignored by the command, too.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
}

// leaves reports whether a signal asks to end.
func leaves(s syscall.Signal) bool {
	return s == unix.SIGINT || s == unix.SIGTERM || s == unix.SIGHUP || s == unix.SIGQUIT
}

// heed leaves at the first signal that asks for it, while there is no command. The function that it returns
// ends that, and returns when it has.
func (r *runner) heed(ctx context.Context) func() {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case s := <-r.signals:
				if s, ok := s.(syscall.Signal); ok && leaves(s) {
					r.leave(caught{s})
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// narrate tells people whom this candidate waits for.
func (r *runner) narrate(ctx context.Context) {
	if r.app.flags.quiet {
		return
	}
	for ev := range r.election.Watch(ctx) {
		switch ev.State {
		case election.StateCampaigning:
			select {
			case <-ev.Context().Done(): // not worth a line
				continue
			case <-time.After(narratePause):
			}
			if ev.Leader.Vacant() {
				r.log.InfoContext(ctx, "waiting; nobody leads", slog.String("key", r.key))
			} else {
				r.log.InfoContext(ctx, "waiting", slog.String("key", r.key), slog.String("leader", short(ev.Leader.Value)), slog.Uint64("leader_token", ev.Leader.Token))
			}
		case election.StateResigned:
			r.log.InfoContext(ctx, "resigned", slog.String("key", r.key))
		default: // logged by those who know more
		}
	}
}

// environ is the environment of the command.
func (r *runner) environ(term *election.Term) []string {
	own := map[string]string{
		"HUSTINGS_KEY":   r.key,
		"HUSTINGS_TOKEN": fmt.Sprint(term.Token()),
		valueVar:         r.value,
		backendVar:       r.url.String(),
	}
	var env []string
	for _, v := range r.app.env.all {
		name, _, _ := strings.Cut(v, "=")
		if _, replaced := own[name]; !replaced && name != passwordVar {
			env = append(env, v)
		}
	}
	for name, value := range own {
		env = append(env, name+"="+value)
	}
	return env
}
