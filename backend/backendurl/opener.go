package backendurl

import (
	"context"
	"errors"
	"strings"

	"github.com/hustings-go/hustings/backend"
)

// Opener is how the stores of one scheme are opened. Those of this project have one in a package beside them, such
// as backend/etcd/etcdurl.
type Opener struct {
	// Scheme is what such a URL begins with.
	Scheme string
	// Port is the one that is meant where the URL names none. It is empty for a store without servers,
	// which takes neither servers nor credentials.
	Port string
	// Server is the server that is meant where the URL names none; where it is empty too, that is refused.
	Server string
	// Path says what the URL's path means; it is empty for a store that takes none.
	Path string
	// Params are the parameters that such a URL takes beside those that all take.
	Params []Param
	// Example is a URL, for help texts.
	Example string
	// Open makes the store. Some have to be reached for it; an error that is not permanent (see package
	// retry) may pass.
	Open func(ctx context.Context, u *URL) (*Store, error)
}

// Param is a parameter in the query of a URL.
type Param struct {
	// Name is what it is called.
	Name string
	// Usage says what it does. A word in back quotes names the value, as in package flag.
	Usage string
}

// Store is a backend that was opened together with what it stands on.
type Store struct {
	backend.Backend
	// Free frees what the backend stands on, such as its client, when the backend has been closed. It may be nil.
	Free func() error
	// Inspect tells what can be learnt about the servers without standing for election, such as
	// their versions. It may be nil.
	Inspect func(ctx context.Context) []Finding
}

// Finding is something that was learnt about a store.
type Finding struct {
	// Text says what is so.
	Text string
	// Problem says what is wrong with that, and what to do; empty when nothing is.
	Problem string
}

// Close ends the session, and then closes the client that was made for it: leases that are still held expire.
func (s *Store) Close() error {
	err := s.Backend.Close()
	if s.Free != nil {
		err = errors.Join(err, s.Free())
	}
	return err
}

// Open opens the store that raw names with the opener of its scheme.
func Open(ctx context.Context, raw string, openers ...Opener) (*Store, error) {
	u, err := Parse(raw, openers...)
	if err != nil {
		return nil, err
	}
	return u.Open(ctx)
}

// Open opens the store that u names. The context bounds the opening alone.
func (u *URL) Open(ctx context.Context) (*Store, error) {
	if err := u.settle(); err != nil {
		return nil, err
	}
	return u.opener.Open(ctx, u)
}

// find returns the opener of a scheme, or an error that names those there are.
func find(scheme string, openers []Opener) (Opener, error) {
	var known []string
	for _, o := range openers {
		if o.Scheme == scheme {
			return o, nil
		}
		known = append(known, o.Scheme+"://")
	}
	return Opener{}, bad("it must begin with %s", alternatives(known))
}

// alternatives joins words as a person would.
func alternatives(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
