package file

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// openFlags keep links from being followed, and a pipe that somebody put there from being waited for.
const openFlags = unix.O_NOFOLLOW | unix.O_NONBLOCK

const supported = true

// The locks are open file description locks (fcntl(2), Linux 3.15): they belong to the descriptor that
// took them, so that two Backends of one process exclude each other, and the kernel takes them back when
// the last copy of that descriptor is closed, however its process ended. Unlike flock(2) they can be asked
// about without being taken, so that observers are in no candidate's way, and they lock single bytes, none
// of which needs to exist: the first byte is the key, and the byte at a term's token says that this very
// term is held. Whoever holds the key and has not yet made a term is thus not mistaken for the last leader.
func byteLock(at uint64) *unix.Flock_t {
	return &unix.Flock_t{Type: unix.F_WRLCK, Start: int64(at), Len: 1}
}

// tryLock locks the key, unless somebody else has.
func tryLock(f *os.File) (bool, error) { return set(f, 0) }

// mark locks the byte of a term, whose key is locked. It is always free.
func mark(f *os.File, token uint64) (bool, error) { return set(f, token) }

func set(f *os.File, at uint64) (bool, error) {
	err := fcntl(f, unix.F_OFD_SETLK, byteLock(at))
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	return err == nil, err
}

// unlock gives up all locks. Closing would do, but only with the last copy of the descriptor, and a process
// that is about to be executed has one for a moment.
func unlock(f *os.File) error {
	return fcntl(f, unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
}

// held reports whether the term of token is held by anybody but f itself. A lock to the end of the file is that
// of some other program, which has locked the key and is no term.
func held(f *os.File, token uint64) (bool, error) {
	lock := byteLock(token)
	err := fcntl(f, unix.F_OFD_GETLK, lock)
	return err == nil && lock.Type != unix.F_UNLCK && lock.Len != 0, err
}

func fcntl(f *os.File, cmd int, lock *unix.Flock_t) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		for failed = unix.EINTR; errors.Is(failed, unix.EINTR); {
			failed = unix.FcntlFlock(fd, cmd, lock)
		}
	})
	return errors.Join(err, failed)
}

// network names the network file system that path is on, or "". The numbers are those of statfs(2); the
// ones that package unix lacks are from the kernel's and from GNU stat's list.
func network(path string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return "", &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return networkFS(uint32(st.Type)), nil
}

func networkFS(magic uint32) string {
	switch magic {
	case unix.NFS_SUPER_MAGIC:
		return "NFS"
	case unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC:
		return "SMB"
	case unix.V9FS_MAGIC:
		return "9p"
	case unix.FUSE_SUPER_MAGIC:
		return "FUSE, which may be a network's"
	case unix.CEPH_SUPER_MAGIC:
		return "Ceph"
	case unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC:
		return "AFS"
	case unix.CODA_SUPER_MAGIC:
		return "Coda"
	case unix.NCP_SUPER_MAGIC:
		return "NCP"
	case unix.OCFS2_SUPER_MAGIC:
		return "OCFS2"
	case 0x01161970:
		return "GFS2"
	case 0x0bd00bd0:
		return "Lustre"
	case 0x47504653:
		return "GPFS"
	case 0x19830326:
		return "BeeGFS"
	case 0x20030528:
		return "OrangeFS"
	case 0xaad7aaea:
		return "PanFS"
	case 0xa501fcf5:
		return "VxFS"
	case 0x786f4256:
		return "a folder shared with the host of VirtualBox"
	case 0xbacbacbc:
		return "a folder shared with the host of VMware"
	case 0x7c7c6673:
		return "a folder shared with the host of Parallels"
	default:
		return ""
	}
}
