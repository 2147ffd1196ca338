package file

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/hustings-go/hustings/backend"
	"github.com/hustings-go/hustings/retry"
)

// wrap names the operation and the key in an error, and marks it for the election. Messages of the system
// name paths and causes.
func (b *Backend) wrap(op, key string, err error) error {
	if b.name != "" {
		return fmt.Errorf("file (%s): %s %q: %w", b.name, op, key, classify(err))
	}
	return fmt.Errorf("file: %s %q: %w", op, key, classify(err))
}

// classify marks what no retry can mend as permanent and a refusal as ErrDenied; all else is passing, a full
// disk included.
func classify(err error) error {
	is := func(targets ...error) bool {
		for _, target := range targets {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	}
	switch {
	case is(backend.ErrLost, backend.ErrClosed, backend.ErrBusy):
		return err
	case is(fs.ErrPermission, syscall.EROFS):
		return fmt.Errorf("%w: %w", backend.ErrDenied, err)
	case is(syscall.ENAMETOOLONG, syscall.ELOOP, syscall.EISDIR, syscall.ENOTDIR):
		return retry.Permanent(err)
	case is(syscall.ENOTSUP, syscall.ENOSYS, syscall.ENOLCK):
		return retry.Permanent(fmt.Errorf("the file system has no locks: %w", err))
	default:
		return err
	}
}
