//go:build unix

// Prebuild builds all servers that tests start, so that no test has to wait for
// a compiler, and prints where they are. Those that cannot be built it installs as
// packages of Debian. With -clean it removes what was built.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/hustings-go/hustings/internal/servers"
)

func main() {
	clean := flag.Bool("clean", false, "remove what was built")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *clean); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, clean bool) error {
	if clean {
		return servers.Clean()
	}
	installed, err := servers.Install(ctx)
	if err != nil {
		return err
	}
	for _, name := range installed {
		fmt.Println("installed", name)
	}
	names, err := servers.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		dir, err := servers.Build(ctx, name)
		if err != nil {
			return err
		}
		fmt.Println(dir)
	}
	return nil
}
