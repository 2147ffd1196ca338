//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) resignCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "resign KEY",
		Short: "Have a run on this machine step down for a while",
		Long: `Resign makes the "hustings run" of this machine and user that leads KEY in the same store step down. It stops its command,
gives the key up and stands again after a pause in which others are preferred (with --once it leaves). Resign returns when the
command has ended. It exits with 1 where no run of this machine leads, and never talks to the store itself.

It finds the run by a socket in $XDG_RUNTIME_DIR/hustings (else in the folder for temporary files), which only the same user can enter.`,
		Example: `  hustings resign nightly
  hustings resign billing --backend etcd://etcd1,etcd2,etcd3`,
		Args: keyArg,
		RunE: func(cmd *cobra.Command, args []string) error { return a.resign(cmd.Context(), args[0]) },
	}
}

func (a *app) resign(ctx context.Context, key string) error {
	u, err := a.checked(key)
	if err != nil {
		return err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	dir, err := deskFolder(a.env)
	if err != nil {
		return err
	}
	paths, err := filepath.Glob(filepath.Join(dir, deskPrefix(u, key)+"*.sock"))
	if err != nil {
		return err
	}
	waiting := 0
	for _, path := range paths {
		answer, token, err := ask(ctx, path)
		switch {
		case ctx.Err() != nil:
			return interrupted(ctx, err)
		case answer == answerResigned:
			fmt.Fprintf(a.stdout, "resigned, token %s\n", token)
			return nil
		case answer == answerWaiting:
			waiting++
		case errors.Is(err, syscall.ECONNREFUSED):
			bury(path)
		default:
			a.logger().WarnContext(ctx, "a run does not answer", "socket", path, "err", err)
		}
	}
	if waiting > 0 {
		return &exit{codeNo, fmt.Errorf("no run of this machine leads %q; %d wait", key, waiting)}
	}
	return &exit{codeNo, fmt.Errorf("no run of this machine stands for %q in this store", key)}
}

// ask has a run resign.
func ask(ctx context.Context, path string) (answer, token string, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = conn.Close() }() // the answer is here, or it is not
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	if _, err := fmt.Fprintln(conn, "resign"); err != nil {
		return "", "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "", "", err
	}
	answer, token, _ = strings.Cut(strings.TrimSpace(line), " ")
	return answer, token, nil
}

// bury removes the socket of a process that was killed.
func bury(path string) {
	name := strings.TrimSuffix(filepath.Base(path), ".sock")
	pid, err := strconv.Atoi(name[strings.LastIndexByte(name, '-')+1:])
	if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		_ = os.Remove(path) // somebody else did, or will
	}
}
