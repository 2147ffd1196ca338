package backendurl

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/hustings-go/hustings/retry"
)

func serverParams() []Param {
	return []Param{
		{"tls", "`on` or off; on by itself when credentials or another TLS parameter are given"},
		{"cacert", "`file` with the certificates of the authorities that may have signed the server's, instead of the system's"},
		{"cert", "`file` with the client's certificate"},
		{"cert-key", "`file` with the key of the client's certificate"},
		{"server-name", "`name` that the server's certificate is for, where it is not the one in the URL"},
		{"insecure-skip-verify", "`true`: take any certificate"},
		{"password-file", "`file` with the password"},
	}
}

// secure reports whether TLS is to be used.
func (u *URL) secure() bool {
	if v, ok := u.params["tls"]; ok {
		return v == "on"
	}
	return u.user != "" || u.HasPassword() || u.tlsParam() != ""
}

// tlsParam returns a parameter that only makes sense with TLS, or "".
func (u *URL) tlsParam() string {
	for _, name := range []string{"cacert", "cert", "cert-key", "server-name", "insecure-skip-verify"} {
		if u.params[name] != "" {
			return name
		}
	}
	return ""
}

// TLS returns how connections are secured, or nil where they are not. Its ServerName is empty where it is that
// of the server.
func (u *URL) TLS() (*tls.Config, error) {
	if !u.secure() {
		if p := u.tlsParam(); p != "" {
			return nil, bad("%s is given together with tls=off", p)
		}
		return nil, nil
	}
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         u.params["server-name"],
		InsecureSkipVerify: u.params["insecure-skip-verify"] == "true",
	}
	if path := u.params["cacert"]; path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, retry.Permanent(fmt.Errorf("the file of authorities: %w", err))
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, retry.Permanent(fmt.Errorf("the file of authorities %q holds no certificate in PEM", path))
		}
	}
	cert, key := u.params["cert"], u.params["cert-key"]
	if (cert == "") != (key == "") {
		return nil, bad("cert and cert-key go together")
	}
	if cert != "" {
		if _, err := load(cert, key); err != nil { // now, when somebody is looking
			return nil, err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load(cert, key) }
	}
	return config, nil
}

func load(cert, key string) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, retry.Permanent(fmt.Errorf("the client's certificate: %w", err))
	}
	return &pair, nil
}

// Warnings tells what is unsafe in what was asked for.
func (u *URL) Warnings() []string {
	var all []string
	if !u.secure() && (u.user != "" || u.HasPassword()) {
		all = append(all, "credentials are sent without TLS")
	}
	if u.secure() && u.params["insecure-skip-verify"] == "true" {
		all = append(all, "the server's certificate is not verified: whoever answers gets the credentials")
	}
	return all
}
