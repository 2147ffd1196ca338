//go:build darwin || freebsd

package file

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// openFlags keep links from being followed, and a pipe that somebody put there from being waited for.
const openFlags = unix.O_NOFOLLOW | unix.O_NONBLOCK

const supported = true

// The locks are flock(2) locks: they belong to the open file description, as on Linux, but cover the whole
// file, so that one lock is both the key's and the term's.

// tryLock locks the key, unless somebody else has.
func tryLock(f *os.File) (bool, error) {
	err := control(f, func(fd uintptr) error { return unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// mark has nothing left to do.
func mark(*os.File, uint64) (bool, error) { return true, nil }

// unlock gives up the lock. Closing would do, but only with the last copy of the descriptor.
func unlock(f *os.File) error {
	return control(f, func(fd uintptr) error { return unix.Flock(int(fd), unix.LOCK_UN) })
}

// held reports whether anybody has locked the file. These systems keep both kinds of locks in one list, so
// that F_GETLK tells of a flock too, and takes nothing.
func held(f *os.File, _ uint64) (bool, error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	err := control(f, func(fd uintptr) error { return unix.FcntlFlock(fd, unix.F_GETLK, &lock) })
	return err == nil && lock.Type != unix.F_UNLCK, err
}

func control(f *os.File, do func(fd uintptr) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		for failed = unix.EINTR; errors.Is(failed, unix.EINTR); {
			failed = do(fd)
		}
	})
	return errors.Join(err, failed)
}

// network names the network file system that path is on, or "".
func network(path string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return "", &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	if st.Flags&unix.MNT_LOCAL == 0 {
		return unix.ByteSliceToString(st.Fstypename[:]), nil
	}
	return "", nil
}
