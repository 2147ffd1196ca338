package file

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/backend/internal/calls"
	"github.com/hustings-go/hustings/retry"
)

// closeBound bounds how long Close waits for Campaigns to return. All they have to do is close a file.
const closeBound = 5 * time.Second

var (
	_ backend.Backend = (*Backend)(nil)
	_ backend.Lease   = (*Lease)(nil)
)

// Backend is one session with a folder, on which any number of elections stand. Its methods are safe for
// concurrent use.
type Backend struct {
	dir      folder
	ttl      time.Duration
	name     string
	session  string // random, so that no two are alike
	unsafeFS bool

	clock    func() time.Time // where tokens come from
	looked   func()           // set by tests that count looks
	notifier notifier
	calls    calls.Open

	// mu guards everything below. It is taken last, and never held while a file is touched.
	mu       sync.Mutex
	standing map[string]*candidacy // who campaigns for a key, or holds it
}

// candidacy is this Backend's one interest in a key. lease is nil until it is won; Backend.mu guards it.
type candidacy struct {
	key   string
	lease *Lease
}

// New makes a Backend that elects among the processes of this machine which use the same folder. A folder
// that is missing is made, with what is missing above it, for this user alone (WithFileMode). Refused with a
// permanent error that says what is allowed are: a folder on a network file system (WithUnsafeNetworkFS), a
// path to something else than a folder, options out of range, and operating systems other than Linux,
// macOS and FreeBSD. The path may be relative, and may lead over links: it is resolved here, once.
//
// New opens nothing that would have to be closed.
func New(dir string, opts ...Option) (*Backend, error) {
	b := &Backend{
		dir:      folder{mode: 0o600},
		ttl:      DefaultTTL,
		session:  rand.Text(),
		clock:    func() time.Time { return backend.Now().Wall() },
		standing: make(map[string]*candidacy),
	}
	for _, opt := range opts {
		if opt.apply != nil {
			opt.apply(b)
		}
	}
	if !supported {
		return nil, retry.Permanent(fmt.Errorf("file: no elections by kernel lock on %s: %w", runtime.GOOS, errors.ErrUnsupported))
	}
	if err := b.validate(); err != nil {
		return nil, err
	}
	if dir == "" {
		return nil, retry.Permanent(errors.New("file: the folder's path is empty"))
	}
	if err := b.settle(dir); err != nil {
		return nil, fmt.Errorf("file: %w", classify(err))
	}
	return b, nil
}

// settle makes the folder if need be, and checks that it can be used.
func (b *Backend) settle(dir string) error {
	path, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(path, dirMode(b.dir.mode)); err != nil {
		if info, serr := os.Stat(path); serr == nil && !info.IsDir() {
			return retry.Permanent(fmt.Errorf("%s is not a folder", path))
		}
		return err
	}
	// Resolved now: whoever comes later by another way must find the same folder, or none.
	if b.dir.path, err = filepath.EvalSymlinks(path); err != nil {
		return err
	}
	name, err := network(b.dir.path)
	if err != nil {
		return err
	}
	if name != "" && !b.unsafeFS {
		return retry.Permanent(fmt.Errorf("%s is on a network file system (%s), whose locks cannot be counted on; "+
			"choose a folder on a local disk, or WithUnsafeNetworkFS", b.dir.path, name))
	}
	b.notifier.deaf = name != ""
	return nil
}

// Dir returns the folder, absolute and with links resolved. It does not block.
func (b *Backend) Dir() string { return b.dir.path }

// TTL returns the time to live of a term. It does not block.
func (b *Backend) TTL() time.Duration { return b.ttl }

// Close ends the session: no new calls are taken, waiting Campaigns withdraw and end with ErrClosed, and so
// do Observe and every Wait. Terms that are held stay held, and can still be renewed and resigned. Nothing
// else needs to be closed: what a call uses it gives back. Close always returns nil, and may be called again.
func (b *Backend) Close() error {
	patience := time.NewTimer(closeBound)
	defer patience.Stop()
	b.calls.Close(patience.C)
	return nil
}

// reserve makes the candidacy for key, unless there is one.
func (b *Backend) reserve(key string) (*candidacy, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.standing[key] != nil {
		return nil, backend.ErrBusy
	}
	c := &candidacy{key: key}
	b.standing[key] = c
	return c, nil
}

// vacate forgets a candidacy.
func (b *Backend) vacate(c *candidacy) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.standing[c.key] == c {
		delete(b.standing, c.key)
	}
}
