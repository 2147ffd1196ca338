package backendurl

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

const (
	reachTimeout = 3 * time.Second
	// verdictTimeout is how long a server may take to refuse the client's certificate. In TLS 1.3 it does so after the
	// handshake has succeeded on the client's side.
	verdictTimeout = time.Second
)

// Reach connects to one of u's servers, and hangs up. With TLS it also finds out whether the two trust each other's
// certificates. The clients of some stores try again behind the scenes where they are refused, and tell only that nobody has
// answered in time; Reach tells why. It waits for 3 s at most.
func (u *URL) Reach(ctx context.Context, server string) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err := u.reach(ctx, server); err != nil {
		return fmt.Errorf("the server %s: %w", server, err)
	}
	return nil
}

// silent is err, unless it only says that the time was up.
func silent(ctx context.Context, what string, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return timeout(fmt.Sprintf("%s within %v", what, reachTimeout))
	}
	return err
}

// timeout is a deadline that was exceeded, in our words.
type timeout string

func (e timeout) Error() string { return string(e) }

func (e timeout) Unwrap() error { return context.DeadlineExceeded }

func (u *URL) reach(ctx context.Context, server string) error {
	config, err := u.TLS()
	if err != nil {
		return err
	}
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", server)
	if err != nil {
		return silent(ctx, "no answer", err)
	}
	defer func() { _ = raw.Close() }() // nothing was sent
	if config == nil {
		return nil
	}
	if config.ServerName == "" {
		if config.ServerName, _, err = net.SplitHostPort(server); err != nil {
			return err
		}
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return silent(ctx, "it takes connections, but no answer in TLS came", fmt.Errorf("TLS: %w", err))
	}
	if err := conn.SetReadDeadline(time.Now().Add(verdictTimeout)); err != nil {
		return err
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("TLS: it hung up: %w", err)
	}
	return nil
}
