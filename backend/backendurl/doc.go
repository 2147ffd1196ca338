// Package backendurl opens the store that a URL names, for programs that choose theirs by configuration:
//
//	store, err := backendurl.Open(ctx, os.Getenv("ELECTION_STORE"), etcdurl.Opener(), redisurl.Opener())
//	defer store.Close()
//	e, err := election.New(store, "service/leader", name)
//
// A program passes the openers of the stores that it wants to speak to, and carries the clients of those
// alone; nothing registers itself. The command hustings passes all of them.
//
// # The URLs
//
//	etcd://host:2379,host2:2379?ttl=15s
//	etcd://user@host?cacert=/etc/ssl/etcd.pem&password-file=/run/secrets/etcd
//	file:///var/lib/hustings
//
// That is scheme://user:password@servers/path?parameters. Servers are separated by commas; an IPv6 address
// stands in brackets; a missing port is the store's own. In user and password the characters / ? # @ : and %
// are written %2F %3F %23 %40 %3A %25. An @ may stand in no other place. Every store takes ttl and name; those with servers
// also take tls (on or off), cacert, cert, cert-key, server-name, insecure-skip-verify and password-file. A
// parameter that is not known, or given twice, is refused.
//
// # Secrets
//
// No error of this package, and no text of a [URL], holds a password: what cannot be parsed is described
// and never quoted, because a mistyped password is what makes most such URLs unparseable. (The errors of
// net/url quote the whole URL.) A password is better kept out of the URL: [URL.SetPassword], or password-file.
//
// TLS is on when a user, a password or any of the other TLS parameters is given; tls=off has to be written out
// to send credentials without it. Nothing falls back silently. TLS is 1.2 or later, and a client certificate
// that is replaced on disk is used from the next connection on.
package backendurl
