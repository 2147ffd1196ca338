package file

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// watched are the events that matter. Closing comes first: it is what the kernel does to a process that
// dies, and with the last copy of a descriptor its lock goes. It is asked for here, of inotify itself,
// because fsnotify, which works on all systems, does not tell of it.
const watched = unix.IN_CLOSE_WRITE | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
	unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW

// notifier is a Backend's ear: one inotify instance, and one goroutine, for all its calls that wait. They are
// made by the first, and end with the last call or term, not before: to close an instance takes the kernel
// some 10 ms, which must not lie between the lock and the win, and who has won is going to wait again. Where the
// user has no more instances or watches to give (by default 128 and some thousands for all processes of a
// user), calls look every pollEvery instead.
type notifier struct {
	deaf bool // the file system does not tell; not changed after New

	mu    sync.Mutex
	users int      // calls that wait, and terms
	in    *inotify // nil until it is needed
}

// inotify is one instance; notifier.mu guards what changes.
type inotify struct {
	f    *os.File
	fd   int
	dirs map[int32]map[*subscription]struct{} // by watch descriptor
	done chan struct{}                        // closed when its goroutine has ended
}

// use keeps the instance until leave, if there is one.
func (n *notifier) use() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.users++
}

// leave ends a use. The last one ends the instance, and sees its goroutine end.
func (n *notifier) leave() {
	n.mu.Lock()
	n.users--
	var in *inotify
	if n.users == 0 {
		in, n.in = n.in, nil
	}
	n.mu.Unlock()
	if in != nil {
		_ = in.f.Close() // ends listen
		<-in.done
	}
}

// subscribe tells about changes in the folder at path from now on, until stop is called. The error is
// fs.ErrNotExist if there is no such folder.
func (n *notifier) subscribe(path string, about func(name string) uint32) (_ *subscription, stop func(), _ error) {
	if n.deaf {
		return &subscription{about: about}, func() {}, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	in, wd, err := n.add(path)
	switch {
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ENOSYS):
		return &subscription{about: about}, func() {}, nil
	case err != nil:
		return nil, nil, &fs.PathError{Op: "watch", Path: path, Err: err}
	}
	s := &subscription{about: about, woken: make(chan struct{}, 1)}
	if in.dirs[wd] == nil {
		in.dirs[wd] = make(map[*subscription]struct{})
	}
	in.dirs[wd][s] = struct{}{}
	n.users++
	return s, func() { n.unsubscribe(in, wd, s) }, nil
}

// add watches path, and starts the instance if there is none. n.mu must be held.
func (n *notifier) add(path string) (_ *inotify, wd int32, _ error) {
	in := n.in
	if in == nil {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		if err != nil {
			return nil, 0, err
		}
		in = &inotify{f: os.NewFile(uintptr(fd), "inotify"), fd: fd, dirs: make(map[int32]map[*subscription]struct{}), done: make(chan struct{})}
	}
	w, err := unix.InotifyAddWatch(in.fd, path, watched)
	if err != nil {
		if n.in == nil {
			_ = in.f.Close()
		}
		return nil, 0, err
	}
	if n.in == nil {
		n.in = in
		go n.listen(in)
	}
	return in, int32(w), nil
}

// unsubscribe ends s.
func (n *notifier) unsubscribe(in *inotify, wd int32, s *subscription) {
	n.mu.Lock()
	subs := in.dirs[wd]
	delete(subs, s)
	if subs != nil && len(subs) == 0 {
		delete(in.dirs, wd)
		if n.in == in { // else its descriptor is closed
			_, _ = unix.InotifyRmWatch(in.fd, uint32(wd)) // the folder may be gone, and the watch with it
		}
	}
	n.mu.Unlock()
	n.leave()
}

// listen hands out events until the instance is closed.
func (n *notifier) listen(in *inotify) {
	defer close(in.done)
	buf := make([]byte, 64*(unix.SizeofInotifyEvent+unix.NAME_MAX+1))
	for {
		size, err := in.f.Read(buf)
		n.mu.Lock()
		if err != nil {
			if n.in == in { // not closed by us: let all begin anew
				n.in = nil
				_ = in.f.Close()
				in.tellAll(stale)
			}
			n.mu.Unlock()
			return
		}
		in.dispatch(buf[:size])
		n.mu.Unlock()
	}
}

// dispatch tells subscribers of the events in buf (inotify(7)).
func (in *inotify) dispatch(buf []byte) {
	for len(buf) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(buf))
		mask := binary.NativeEndian.Uint32(buf[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[12:]))
		name := string(bytes.TrimRight(buf[unix.SizeofInotifyEvent:end], "\x00"))
		buf = buf[end:]
		switch {
		case mask&unix.IN_Q_OVERFLOW != 0: // anything may have happened
			in.tellAll(lockTouched | termTouched)
		case mask&(unix.IN_IGNORED|unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_UNMOUNT) != 0:
			for s := range in.dirs[wd] {
				s.tell(stale)
			}
			if mask&unix.IN_IGNORED != 0 {
				delete(in.dirs, wd)
			}
		default:
			for s := range in.dirs[wd] {
				s.tell(s.about(name))
			}
		}
	}
}

func (in *inotify) tellAll(what uint32) {
	for _, subs := range in.dirs {
		for s := range subs {
			s.tell(what)
		}
	}
}
