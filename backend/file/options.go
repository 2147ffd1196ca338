package file

import (
	"fmt"
	"io/fs"
	"time"
	"unicode/utf8"

	"github.com/hustings-go/hustings/retry"
)

const (
	// DefaultTTL is the time to live of a term when WithTTL is not given.
	DefaultTTL = 15 * time.Second

	// MinTTL and MaxTTL bound what WithTTL takes. A kernel lock knows no time, so these are about the
	// holder: how often it proves that it still holds, and how soon it gives up a term that nobody renews.
	MinTTL = time.Second
	// MaxTTL is the longest time to live.
	MaxTTL = 24 * time.Hour

	// MaxValueLen is the largest value that Campaign and Proclaim take, in bytes.
	MaxValueLen = 1 << 20

	// MaxNameLen is the longest name that WithName takes, in bytes.
	MaxNameLen = 255
)

// Option changes what New makes. The zero Option does nothing.
type Option struct {
	apply func(*Backend)
}

// WithTTL sets the time to live of a term, from MinTTL to MaxTTL: a term that its election does not renew
// for that long is given up by the holder's process, and all timings of the election follow from it. It is
// not how long a key stays taken after a crash, which frees it at once.
func WithTTL(d time.Duration) Option {
	return Option{apply: func(b *Backend) { b.ttl = d }}
}

// WithName sets a readable name for the session, at most MaxNameLen bytes of UTF-8. It stands in the
// records of its terms, beside the process's number, and in error messages; it decides nothing.
func WithName(name string) Option {
	return Option{apply: func(b *Backend) { b.name = name }}
}

// WithFileMode sets the permissions of the files that this Backend makes, 0600 by default; folders get the
// right to enter wherever files have the right to read. Processes of several users elect among themselves
// with 0660 and a folder of a common group (and its set-group-id bit), or observe with 0640 or 0644. The
// umask does not count. What exists already keeps its permissions. The owner must be able to read and write.
func WithFileMode(mode fs.FileMode) Option {
	return Option{apply: func(b *Backend) { b.dir.mode = mode }}
}

// WithUnsafeNetworkFS accepts a folder on a network file system, and on one that may be one (FUSE). New
// refuses these, because locks on many of them exclude only the processes of one machine, are lost when a
// server restarts, or are not there at all, and because no notice comes of what other machines do: all
// waiting is then by looking several times a second. Whoever sets it answers for exclusion; tokens are
// still taken by exclusive creation of a file, so that no two terms share one.
func WithUnsafeNetworkFS() Option {
	return Option{apply: func(b *Backend) { b.unsafeFS = true }}
}

func (b *Backend) validate() error {
	switch mode := b.dir.mode; {
	case b.ttl < MinTTL || b.ttl > MaxTTL:
		return retry.Permanent(fmt.Errorf("file: the TTL is %v, must be from %v to %v", b.ttl, MinTTL, MaxTTL))
	case len(b.name) > MaxNameLen:
		return retry.Permanent(fmt.Errorf("file: the name has %d bytes, at most %d are allowed", len(b.name), MaxNameLen))
	case !utf8.ValidString(b.name):
		return retry.Permanent(fmt.Errorf("file: the name %q is not UTF-8", b.name))
	case mode&^fs.ModePerm != 0 || mode&0o600 != 0o600:
		return retry.Permanent(fmt.Errorf("file: the file mode is %#o, must be permissions with at least 0600", uint32(mode)))
	default:
		return nil
	}
}

func validateValue(value []byte) error {
	if len(value) > MaxValueLen {
		return retry.Permanent(fmt.Errorf("the value has %d bytes, and at most %d are allowed", len(value), MaxValueLen))
	}
	return nil
}
