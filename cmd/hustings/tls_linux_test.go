package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hustings-go/hustings/internal/certs"
	"github.com/hustings-go/hustings/internal/servers"
)

// freePort is one on which nobody listens. It is below those that the kernel hands out by itself.
func freePort(t *testing.T) string {
	t.Helper()
	const first, last = 10_000, 19_999
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(last-first+1))
		if l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// startSecureEtcd starts an etcd that speaks TLS alone, and takes only clients with a certificate.
func startSecureEtcd(t *testing.T, ca *certs.Authority, own certs.Pair) (address string) {
	t.Helper()
	bin, err := servers.Build(t.Context(), "etcd")
	if err != nil {
		t.Fatal(err)
	}
	address = freePort(t)
	peer := "http://" + freePort(t)
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "server"), "--data-dir="+t.TempDir(), "--unsafe-no-fsync", "--log-level=error",
		"--listen-client-urls=https://"+address, "--advertise-client-urls=https://"+address,
		"--cert-file="+own.Cert, "--key-file="+own.Key, "--client-cert-auth", "--trusted-ca-file="+ca.File,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	begin(t, cmd)
	return address
}

// startSecureRedis starts a Redis that also speaks TLS, there with clients that have a certificate and know the password.
func startSecureRedis(t *testing.T, ca *certs.Authority, own certs.Pair) (server *servers.Redis, address string) {
	t.Helper()
	address = freePort(t)
	_, port, _ := strings.Cut(address, ":")
	return servers.StartRedis(t, servers.RedisPassword("s3cr3t"), servers.RedisArgs("--tls-port", port, "--tls-auth-clients", "yes",
		"--tls-ca-cert-file", ca.File, "--tls-cert-file", own.Cert, "--tls-key-file", own.Key)), address
}

// TestTLS runs commands on servers that speak TLS and want a certificate of their clients.
func TestTLS(t *testing.T) {
	ca, stranger := certs.New(t), certs.New(t)
	own, ada := ca.Issue(t, "server"), ca.Issue(t, "ada")
	etcd := startSecureEtcd(t, ca, own)
	redis, secureRedis := startSecureRedis(t, ca, own)
	right := func(c certs.Pair) []string {
		return []string{"--cacert", ca.File, "--cert", c.Cert, "--cert-key", c.Key}
	}
	for store, url := range map[string]string{"etcd": "etcd://" + etcd, "redis": "redis://" + secureRedis} {
		p := newPerson(t, url+"?ttl=10s")
		if store == "redis" {
			p.env = append(p.env, passwordVar+"=s3cr3t")
		}
		servers.Await(t, store+" to serve", func(context.Context) error {
			if stdout, stderr, code := p.do(append(right(ada), "status", "k", "--timeout", "1s")...); code != codeNo {
				return fmt.Errorf("exit code %d, %s%s", code, stdout, stderr)
			}
			return nil
		})
		t.Run(store, func(t *testing.T) {
			p := &person{t: t, env: p.env}
			if stdout, stderr, code := p.do(append(right(ada), "doctor")...); code != 0 || strings.Contains(stdout, "without TLS") {
				t.Errorf("doctor: exit code %d\n%s%s", code, stdout, stderr)
			}
			run := append(right(ada), "run", "k", "--", "sh", "-c", `echo "$HUSTINGS_BACKEND"`)
			if stdout, stderr, code := p.do(run...); code != 0 || !strings.Contains(stdout, "cacert=") {
				t.Errorf("run: exit code %d, %q\n%s", code, stdout, stderr)
			}
			// The certificate is for two names; by the other one it is the same server.
			p.start(append(right(ada), "status", "k", "--server-name", "localhost")...).mustExit(codeNo)
			// All of it can stand in the URL.
			inURL := &person{t: t, env: append(p.env, backendVar+"="+url+"?cacert="+ca.File+"&cert="+ada.Cert+"&cert-key="+ada.Key)}
			inURL.start("status", "k").mustExit(codeNo)

			for name, c := range map[string]struct {
				flags []string
				want  string
			}{
				"unknown authority":      {append(right(ada), "--cacert", stranger.File), "unknown authority"},
				"another host":           {append(right(ada), "--server-name", "other.example"), "not other.example"},
				"no client certificate":  {[]string{"--cacert", ca.File}, "certificate required"},
				"a stranger's":           {right(stranger.Issue(t, "eve")), "certificate"},
				"an expired one":         {right(ca.Expired(t, "late")), "certificate"},
				"the system's authority": {[]string{"--tls", "on"}, "unknown authority"},
			} {
				t.Run(name, func(t *testing.T) { refused(&person{t: t, env: p.env}, c.flags, c.want) })
			}
		})
	}

	t.Run("passwords", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(file, []byte("s3cr3t\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		p := newPerson(t, "redis://"+secureRedis)
		p.do(append(right(ada), "status", "k", "--password-file", file)...)
		if _, stderr, code := p.do(append(right(ada), "status", "k", "--password-file", file)...); code != codeNo {
			t.Errorf("from a file: exit code %d, %q", code, stderr)
		}
		s := p.sit(append(right(ada), "status", "k", "--password-prompt")...)
		s.await(&s.stdout, "Password for redis://"+secureRedis)
		s.press("s3cr3t\r")
		s.mustExit(codeNo)
		if strings.Contains(s.stdout.String(), "s3cr3t") {
			t.Error("the password is shown")
		}
		p.env = append(p.env, passwordVar+"=wr0ng")
		stdout, stderr, code := p.do(append(right(ada), "doctor")...)
		if code != codeNo || !strings.Contains(stdout, "refuses the login") || strings.Contains(stdout+stderr, "wr0ng") {
			t.Errorf("a wrong one: exit code %d\n%s%s", code, stdout, stderr)
		}
	})

	t.Run("an expired server", func(t *testing.T) {
		expired := ca.Expired(t, "server")
		redis.Cli("config", "set", "tls-cert-file", expired.Cert, "tls-key-file", expired.Key)
		p := newPerson(t, "redis://"+secureRedis)
		p.env = append(p.env, passwordVar+"=s3cr3t")
		refused(p, right(ada), "certificate has expired")
	})

	t.Run("replaced while it leads", func(t *testing.T) {
		valid := ca.Issue(t, "server")
		redis.Cli("config", "set", "tls-cert-file", valid.Cert, "tls-key-file", valid.Key)
		const ttl = 4 * time.Second
		p := newPerson(t, "redis://"+secureRedis+"?ttl="+ttl.String())
		p.env = append(p.env, passwordVar+"=s3cr3t")
		mine := ca.Issue(t, "soon to be gone")
		s := p.start(append(right(mine), "run", "k", "--", "sh", "-c", stay)...)
		pid := s.leads()
		fresh := ca.Issue(t, "fresh")
		if err := errors.Join(os.Rename(fresh.Cert, mine.Cert), os.Rename(fresh.Key, mine.Key)); err != nil {
			t.Fatal(err)
		}
		redis.Cli("client", "kill", "type", "normal", "skipme", "yes") // its connections: it has to make new ones
		time.Sleep(2 * ttl)                                            // it has renewed, or else it is gone
		if !alive(pid) {
			t.Errorf("it was stopped\n%s", s.stderr.String())
		}
		s.signal(syscall.SIGTERM)
		s.mustExit(143)
	})
}

// refused has the doctor, and then status, say why the two do not trust each other.
func refused(p *person, flags []string, why string) {
	p.t.Helper()
	var stdout, stderr string
	var code int
	for range 3 { // as a server that takes its time to refuse is not told from one that does not
		if stdout, stderr, code = p.do(append(flags, "doctor", "--timeout", "2s")...); strings.Contains(stdout, why) {
			break
		}
	}
	if code != codeNo || !strings.Contains(stdout, why) || !strings.Contains(stdout, "do not trust each other") || strings.Contains(stdout+stderr, "s3cr3t") {
		p.t.Errorf("doctor: exit code %d, want %q\n%s%s", code, why, stdout, stderr)
	}
	stdout, stderr, code = p.do(append(flags, "status", "k", "--timeout", "2s")...)
	if code != codeFailed || stdout != "" || !strings.Contains(stderr, why) || strings.Contains(stderr, "s3cr3t") {
		p.t.Errorf("status: exit code %d, want %q\n%s%s", code, why, stdout, stderr)
	}
}
