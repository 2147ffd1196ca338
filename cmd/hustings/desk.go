//go:build unix

package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hustings-go/hustings/backend/backendurl"
	"github.com/hustings-go/hustings/election"
)

// A run that can be told to resign listens on a socket in a folder that only its user can enter. A socket,
// and not a file with a process id: an id may be another process's by the time that a signal is sent to it,
// and a socket whose process has ended refuses.

// The answers of a desk, before the token.
const (
	answerWaiting  = "waiting"  // it does not lead
	answerResigned = "resigned" // it led, and its command has ended
)

const deskPoll = 20 * time.Millisecond

// deskFolder returns the folder of the sockets, which it makes and does not trust.
func deskFolder(env environment) (string, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("hustings-%d", os.Getuid()))
	if runtime := env.get("XDG_RUNTIME_DIR"); filepath.IsAbs(runtime) {
		dir = filepath.Join(runtime, "hustings")
	}
	const private = 0o700
	if err := os.Mkdir(dir, private); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || info.Mode().Perm() != private || int(owner.Uid) != os.Getuid() {
		return "", fmt.Errorf("%s is not a folder that only this user can enter", dir)
	}
	return dir, nil
}

// deskPrefix is how the names begin of the sockets for key in the store of u.
func deskPrefix(u *backendurl.URL, key string) string {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{u.Scheme(), u.Path(), key}, u.Servers()...), "\n")))
	const enough = 8
	return fmt.Sprintf("%x-", sum[:enough])
}

// desk is the socket of a run.
type desk struct {
	listener net.Listener
	cancel   context.CancelFunc
	served   sync.WaitGroup
}

// openDesk listens until the desk is closed.
func openDesk(ctx context.Context, env environment, u *backendurl.URL, key string, e *election.Election[string]) (*desk, error) {
	dir, err := deskFolder(env)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, fmt.Sprintf("%s%d.sock", deskPrefix(u, key), os.Getpid()))
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a process that had our id
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		cancel()
		return nil, err
	}
	d := &desk{listener: listener, cancel: cancel}
	d.served.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			d.served.Go(func() { serve(ctx, conn, e) })
		}
	})
	return d, nil
}

func (d *desk) close() {
	d.cancel()
	_ = d.listener.Close() // which removes the socket
	d.served.Wait()
}

// serve has the election resign, and answers when the command has ended.
func serve(ctx context.Context, conn net.Conn, e *election.Election[string]) {
	defer func() { _ = conn.Close() }() // the answer was sent, or nobody reads it
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "resign\n" {
		return
	}
	term := e.Term()
	if term == nil {
		fmt.Fprintf(conn, "%s 0\n", answerWaiting)
		return
	}
	e.Resign()
	look := time.NewTicker(deskPoll)
	defer look.Stop()
	for e.Term() == term || term.Valid() {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
	fmt.Fprintf(conn, "%s %d\n", answerResigned, term.Token())
}
