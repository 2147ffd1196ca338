package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
)

// The exit codes of hustings itself; those of a command that it runs are passed on.
const (
	codeOK     = 0
	codeNo     = 1   // status: nobody leads; doctor: something is wrong; resign: nothing was found to resign
	codeLost   = 124 // run: the leadership ended before the command did (--once), or was not won in time (--wait)
	codeFailed = 125 // hustings could not do what was asked, or was asked for something it does not know
	codeSignal = 128 // plus the signal that ended hustings
)

// exit is an error that says what to exit with. The one that it wraps is printed, if there is one.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// app is what all commands share.
type app struct {
	stdin          *os.File
	stdout, stderr *os.File
	env            environment
	flags          flags
}

// flags are those that all commands know.
type flags struct {
	backend   string
	params    map[string]*string // of the URL, by name
	prompt    bool
	logFormat string
	quiet     bool
}

// run is main, without its globals.
func run(ctx context.Context, args []string, stdin, stdout, stderr *os.File, env []string) int {
	if code, ok := otherRole(args); ok {
		return code
	}
	redis.SetLogger(silent{})
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, env: newEnvironment(env)}
	root := a.command()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var e *exit
	switch {
	case err == nil:
		return codeOK
	case !errors.As(err, &e):
		e = &exit{codeFailed, err}
	}
	if e.err != nil {
		fmt.Fprintln(stderr, "hustings: "+printable(err.Error()))
	}
	return e.code
}

const longHelp = `Hustings runs a command on one machine out of many: on the one that leads an election, for as long as it leads.
It also tells who leads. The votes are counted by a store that you already run, or, among the processes of
one machine, by a lock in the file system.

EXIT CODES
  The command's own where it ran to its end; 128+N when signal N killed it.
  0     done; status: somebody leads
  1     status: nobody leads; doctor: something is wrong; resign: there was nothing to resign
  124   run --once: the leadership ended before the command did; run --wait: it was not won in time
  125   hustings failed, or does not understand its arguments
  126   the command was found, but cannot be run
  127   the command was not found
  128+N signal N ended hustings: 130 for ^C, 143 for SIGTERM

ENVIRONMENT
  HUSTINGS_BACKEND    the URL of the store, where --backend is not given
  HUSTINGS_PASSWORD   the password, where neither the URL nor --password-file has one
  XDG_STATE_HOME      where the file backend keeps its files (default ~/.local/state)
  XDG_RUNTIME_DIR     where "hustings resign" finds what runs
  NO_COLOR            demo: no colours`

// command puts all commands together.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "hustings",
		Short: "Run a command on the one machine that leads, and tell who leads",
		Long:  longHelp + "\n\nBACKENDS\n" + a.backendsHelp(),
		Example: `  hustings demo
  hustings run nightly -- ./backup.sh
  hustings observe nightly`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
		Args:          known,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	f := root.PersistentFlags()
	f.StringVarP(&a.flags.backend, "backend", "b", "", "`URL` of the store (default $HUSTINGS_BACKEND, else the file backend)")
	a.flags.params = make(map[string]*string)
	for _, p := range commonParams() {
		a.flags.params[p.Name] = f.String(p.Name, "", p.Usage)
	}
	f.BoolVar(&a.flags.prompt, "password-prompt", false, "ask for the password on the terminal")
	f.StringVar(&a.flags.logFormat, "log-format", "text", "`format` of what is told on standard error: text or json")
	f.BoolVarP(&a.flags.quiet, "quiet", "q", false, "tell of trouble only")
	root.AddCommand(a.observeCommand(), a.statusCommand(), a.doctorCommand())
	root.AddCommand(a.systemCommands()...)
	strict(root)
	complete(root)
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if a.flags.logFormat != "text" && a.flags.logFormat != "json" {
			return errors.New("--log-format is text or json")
		}
		return nil
	}
	return root
}

// logger returns the logger of all commands, to standard error.
func (a *app) logger() *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if a.flags.quiet {
		options.Level = slog.LevelWarn
	}
	var out io.Writer = a.stderr
	if a.flags.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}

// keyArg has a command take the key of an election, and nothing else.
func keyArg(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s takes one KEY: %s", cmd.Name(), cmd.UseLine())
	}
	return nil
}

// environment is the process's own, by name.
type environment struct {
	all    []string
	values map[string]string
}

func newEnvironment(all []string) environment {
	e := environment{all: all, values: make(map[string]string)}
	for _, v := range all {
		if name, value, ok := strings.Cut(v, "="); ok {
			e.values[name] = value
		}
	}
	return e
}

func (e environment) get(name string) string { return e.values[name] }
