package file_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// request is one system call that a supervised function is about to make (seccomp_unotify(2)).
type request struct {
	number uintptr
	args   [6]uint64
}

// path is what the request's first argument, a descriptor, is open on.
func (r request) path() string {
	path, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", r.args[0]))
	return path
}

// supervise runs do, and calls see before each of its system calls of the numbers given: the call fails with what see returns,
// or is carried out if that is 0. So a test is told what is flushed to the disk and when, and can make a disk fail, in a
// way that no file system needs to be mounted for.
func supervise(t testing.TB, numbers []uint32, see func(request) unix.Errno, do func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its filter
		listener, err := intercept(numbers)
		if err != nil {
			done <- err
			return
		}
		var answering sync.WaitGroup
		stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err == nil {
			answering.Go(func() { err = answer(listener, stop, see) })
			do()
			_, _ = unix.Write(stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
			answering.Wait()
			_ = unix.Close(stop)
		}
		_ = unix.Close(listener)
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("looking on at system calls: %v", err)
	}
}

// intercept has the system calls of this thread wait for who reads the descriptor that it returns.
func intercept(numbers []uint32) (listener int, _ error) {
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}} // the number, which is first
	for _, number := range numbers {
		filter = append(filter,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: number},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return 0, errno
	}
	return int(fd), nil
}

// answer answers what waits until something can be read from stop.
func answer(listener, stop int, see func(request) unix.Errno) error {
	for {
		ready := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}, {Fd: int32(stop), Events: unix.POLLIN}}
		if _, err := unix.Poll(ready, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if ready[1].Revents != 0 {
			return nil
		}
		if ready[0].Revents == 0 {
			continue
		}
		var asked struct { // seccomp_notif
			id         uint64
			pid, flags uint32
			number     int32
			arch       uint32
			at         uint64
			args       [6]uint64
		}
		var verdict struct { // seccomp_notif_resp
			id    uint64
			value int64
			errno int32
			flags uint32
		}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&asked))); errno != 0 {
			if errno == unix.ENOENT || errno == unix.EINTR { // a signal came first: the call is made again
				continue
			}
			return errno
		}
		verdict.id = asked.id
		if errno := see(request{uintptr(asked.number), asked.args}); errno != 0 {
			verdict.errno = -int32(errno)
		} else {
			verdict.flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
		}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&verdict))); errno != 0 && errno != unix.ENOENT {
			return errno
		}
	}
}
