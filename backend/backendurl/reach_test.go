package backendurl_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/hustings-go/hustings/internal/certs"
)

// serve takes connections on a loopback port and hangs up on them, with a handshake first where there is a config. It
// sends the client's name of each.
func serve(t *testing.T, config *tls.Config) (address string, clients <-chan string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	names, done := make(chan string, 100), make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if config != nil {
				secure := tls.Server(conn, config)
				if secure.HandshakeContext(context.Background()) == nil && len(secure.ConnectionState().PeerCertificates) > 0 {
					names <- secure.ConnectionState().PeerCertificates[0].Subject.CommonName
				}
				_, _ = secure.Read(make([]byte, 1)) // until the client hangs up
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	return listener.Addr().String(), names
}

// TestReach tells what keeps a client and a server apart.
func TestReach(t *testing.T) {
	ca, stranger := certs.New(t), certs.New(t)
	load := func(p certs.Pair) tls.Certificate {
		pair, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	text, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	plain, _ := serve(t, nil)
	secure, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{load(ca.Issue(t, "server"))}})
	expired, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{load(ca.Expired(t, "server"))}})
	mutual, names := serve(t, &tls.Config{Certificates: []tls.Certificate{load(ca.Issue(t, "server"))}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert})
	ada, eve, late := ca.Issue(t, "ada"), stranger.Issue(t, "eve"), ca.Expired(t, "late")
	trust := "cacert=" + ca.File
	as := func(p certs.Pair) string { return trust + "&cert=" + p.Cert + "&cert-key=" + p.Key }
	closed, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()

	for _, c := range []struct{ name, server, query, want string }{
		{"plain", plain, "", ""},
		{"nobody there", closed.Addr().String(), "", "refused"},
		{"no TLS there", plain, "tls=on", "TLS"},
		{"TLS", secure, trust, ""},
		{"unknown authority", secure, "cacert=" + stranger.File, "unknown authority"},
		{"the system's authorities", secure, "tls=on", "unknown authority"},
		{"another host", secure, trust + "&server-name=other.example", "not other.example"},
		{"the name it has", secure, trust + "&server-name=localhost", ""},
		{"not verified", secure, "insecure-skip-verify=true", ""},
		{"expired", expired, trust, "expired"},
		{"client", mutual, as(ada), ""},
		{"no client certificate", mutual, trust, "certificate required"},
		{"client of a stranger", mutual, as(eve), "unknown certificate authority"},
		{"client expired", mutual, as(late), "expired certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, err := parse("served://ada:s3cr3t@" + c.server + "?tls=off")
			if c.query != "" {
				u, err = parse("served://ada:s3cr3t@" + c.server + "?" + c.query)
			}
			if err != nil {
				t.Fatal(err)
			}
			const tries = 10 // a server that takes its time to refuse is not told from one that does not
			for range tries {
				if err = u.Reach(t.Context(), c.server); err != nil || c.want == "" {
					break
				}
			}
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.server)):
				t.Errorf("%v; want %q, and the server", err, c.want)
			case err != nil && strings.Contains(err.Error(), "s3cr3t"):
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
	if got := <-names; got != "ada" {
		t.Fatalf("the client was %q", got)
	}

	t.Run("a certificate that was replaced", func(t *testing.T) {
		u, err := parse("served://" + mutual + "?" + as(ada))
		if err != nil {
			t.Fatal(err)
		}
		config, err := u.TLS()
		if err != nil {
			t.Fatal(err)
		}
		bob := ca.Issue(t, "bob")
		if err := errors.Join(os.Rename(bob.Cert, ada.Cert), os.Rename(bob.Key, ada.Key)); err != nil {
			t.Fatal(err)
		}
		conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", mutual)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if got := <-names; got != "bob" {
			t.Errorf("the client was %q after its certificate was replaced", got)
		}
	})

	t.Run("ended", func(t *testing.T) {
		u, err := parse("served://" + secure + "?" + trust)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := u.Reach(ctx, secure); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}
