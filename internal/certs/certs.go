// Package certs makes authorities and certificates for tests: right ones, and ones that are wrong in one way.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"time"
)

// TB is what is needed of a test. It is testing.TB, which only tests may import.
type TB interface {
	Helper()
	Fatal(args ...any)
	TempDir() string
}

// Authority signs certificates.
type Authority struct {
	// File holds its own certificate, in PEM.
	File string

	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Pair are the files of a certificate and its key, in PEM.
type Pair struct{ Cert, Key string }

// New makes an authority that nobody knows yet.
func New(t TB) *Authority {
	t.Helper()
	a := &Authority{dir: t.TempDir()}
	template := a.template("authority", time.Hour)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	a.File = a.sign(t, template).Cert
	return a
}

// Issue makes a certificate for 127.0.0.1 and localhost, good for servers and clients, under the common name given.
func (a *Authority) Issue(t TB, name string) Pair {
	t.Helper()
	return a.sign(t, a.template(name, time.Hour))
}

// Expired makes one that was good until a minute ago.
func (a *Authority) Expired(t TB, name string) Pair {
	t.Helper()
	return a.sign(t, a.template(name, -time.Minute))
}

func (a *Authority) template(name string, left time.Duration) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(left),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:     []string{"localhost"},
	}
}

// sign signs with the authority's key, or, where there is none yet, has the new key be that.
func (a *Authority) sign(t TB, template *x509.Certificate) Pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert == nil {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		a.key = key
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return Pair{Cert: a.write(t, "cert", "CERTIFICATE", der), Key: a.write(t, "key", "PRIVATE KEY", secret)}
}

func (a *Authority) write(t TB, name, kind string, der []byte) string {
	t.Helper()
	f, err := os.CreateTemp(a.dir, name+"-*.pem")
	if err != nil {
		t.Fatal(err)
	}
	if err := pem.Encode(f, &pem.Block{Type: kind, Bytes: der}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}
