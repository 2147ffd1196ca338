package main

import (
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// version is what the go command knows about the source of this program.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "of an unknown version"
	}
	return info.Main.Version + " " + info.GoVersion
}

// known refuses a command that there is not, and looks for the one that was meant.
func known(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	const typos = 2
	cmd.SuggestionsMinimumDistance = typos
	hint := ""
	if meant := cmd.SuggestionsFor(args[0]); len(meant) > 0 {
		hint = fmt.Sprintf("did you mean %q? ", meant[0])
	}
	return fmt.Errorf("there is no command %q; %s\"hustings help\" lists all", args[0], hint)
}

// strict has the two commands that cobra adds refuse what they do not know. By themselves they print a help text and
// succeed.
func strict(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			help := cmd.Run
			cmd.Run = nil
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				if target, rest, err := root.Find(args); err != nil || target == root && len(rest) > 0 {
					return known(root, args)
				}
				help(cmd, args)
				return nil
			}
		case "completion":
			cmd.Long = "Completion prints a script that has a shell complete commands, flags and their values."
			cmd.Example = `  source <(hustings completion bash)    # needs the package bash-completion
  source <(hustings completion zsh)     # after compinit
  hustings completion fish | source`
			cmd.Args = cobra.ArbitraryArgs
			cmd.RunE = func(cmd *cobra.Command, _ []string) error {
				var shells []string
				for _, c := range cmd.Commands() {
					shells = append(shells, c.Name())
				}
				return fmt.Errorf("completion takes the name of a shell: %s", strings.Join(shells, ", "))
			}
		}
	}
}

// complete says what shells may offer: files only where a file is meant.
func complete(root *cobra.Command) {
	values := map[string][]cobra.Completion{
		"log-format":           {"text", "json"},
		"tls":                  {"on", "off"},
		"insecure-skip-verify": {"true", "false"},
		"ttl":                  nil, "name": nil, "server-name": nil, "value": nil, "wait": nil, "grace": nil, "timeout": nil,
	}
	for _, o := range openers() {
		values["backend"] = append(values["backend"], o.Scheme+"://")
	}
	for _, cmd := range append(root.Commands(), root) {
		for name, all := range values {
			directive := cobra.ShellCompDirectiveNoFileComp
			if name == "backend" {
				directive |= cobra.ShellCompDirectiveNoSpace
			}
			if cmd.LocalNonPersistentFlags().Lookup(name) != nil || cmd == root && root.PersistentFlags().Lookup(name) != nil {
				// It fails only for a flag that there is not.
				_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(all, directive))
			}
		}
		if cmd.ValidArgsFunction == nil && cmd != root {
			cmd.ValidArgsFunction = cobra.NoFileCompletions // a KEY
		}
	}
}

// noLess refuses a duration that is too short to mean anything.
func noLess(flag string, d, least time.Duration) error {
	if d >= least {
		return nil
	}
	return fmt.Errorf("--%s is %v; it is at least %v", flag, d, least)
}
