//go:build unix

package servers

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// KubeAPIServer is the API server of a Kubernetes cluster that has nothing else:
// no nodes, no controllers. It is enough for the objects that are only stored,
// such as Leases.
type KubeAPIServer struct {
	*Process

	t     testing.TB
	etcd  *Etcd
	port  int
	dir   string // with the certificate that the server makes for itself
	token string
}

// StartKubeAPIServer starts an API server with an etcd of its own, and waits
// until it serves. It lets nobody in but who has [KubeAPIServer.Token], who may
// do all.
func StartKubeAPIServer(t testing.TB) *KubeAPIServer {
	t.Helper()
	bin, err := Build(t.Context(), "kube-apiserver")
	if err != nil {
		t.Fatal(err)
	}
	k := &KubeAPIServer{t: t, etcd: StartEtcd(t), port: reservePort(t), dir: t.TempDir(), token: uuid()}
	accounts, tokens := filepath.Join(k.dir, "accounts.key"), filepath.Join(k.dir, "tokens.csv")
	if err := errors.Join(
		writeRSAKey(accounts),
		os.WriteFile(tokens, []byte(k.token+",operator,operator,system:masters\n"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	k.Process = newProcess(t, spec{
		name: "kube-apiserver",
		path: filepath.Join(bin, "kube-apiserver"),
		args: []string{
			"--etcd-servers=" + k.etcd.URL(),
			"--bind-address=127.0.0.1",
			"--secure-port=" + strconv.Itoa(k.port),
			"--cert-dir=" + k.dir,
			"--token-auth-file=" + tokens,
			"--anonymous-auth=false",
			"--authorization-mode=RBAC",
			"--service-account-issuer=" + k.URL(),
			"--service-account-key-file=" + accounts,
			"--service-account-signing-key-file=" + accounts,
			"--service-cluster-ip-range=10.0.0.0/24",
			"--endpoint-reconciler-type=none", // it is nobody's member
		},
		ready: k.ready,
	})
	k.WaitReady()
	return k
}

// Endpoint returns the address of the API, as host and port.
func (k *KubeAPIServer) Endpoint() string { return loopback(k.port) }

// URL returns the address of the API, as a URL. It speaks TLS.
func (k *KubeAPIServer) URL() string { return "https://" + loopback(k.port) }

// Token returns the bearer token of the operator.
func (k *KubeAPIServer) Token() string { return k.token }

// CA returns the certificate that the server's own is checked against, as PEM.
func (k *KubeAPIServer) CA() []byte {
	k.t.Helper()
	text, err := k.ca()
	if err != nil {
		k.t.Fatal(err)
	}
	return text
}

// ca reads what the server writes when it first starts.
func (k *KubeAPIServer) ca() ([]byte, error) {
	return os.ReadFile(filepath.Join(k.dir, "apiserver.crt"))
}

// Call sends a request with body, unless that is empty, as the operator, and
// returns the answer.
func (k *KubeAPIServer) Call(ctx context.Context, method, path, body string) (string, error) {
	return k.callAs(ctx, k.token, method, path, body)
}

func (k *KubeAPIServer) callAs(ctx context.Context, token, method, path, body string) (string, error) {
	pemText, err := k.ca()
	if err != nil {
		return "", err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pemText) {
		return "", errors.New("the server's certificate is not written yet")
	}
	req, err := http.NewRequestWithContext(ctx, method, k.URL()+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return string(text), err
}

// ready asks for the server's own opinion, and for the namespace default, which
// it makes once it runs.
func (k *KubeAPIServer) ready(ctx context.Context) error {
	for _, path := range []string{"/readyz", "/api/v1/namespaces/default"} {
		if _, err := k.Call(ctx, http.MethodGet, path, ""); err != nil {
			return err
		}
	}
	return nil
}

// writeRSAKey makes a key for the tokens of service accounts, which nobody here
// has; the server does not start without.
func writeRSAKey(path string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return os.WriteFile(path, pem.EncodeToMemory(block), 0o600)
}
