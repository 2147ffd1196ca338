package zookeeper

import (
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// The client does not tell which session timeout was negotiated, nor when it sent a ping that was answered, nor when its watches
// were set again. All that passes over its connection, so that is where they are read. Each packet of ZooKeeper's protocol is a
// length and that many bytes; the first in each direction is the greeting, and after it those of the client begin with an
// id and an operation, those of the server with the id of what they answer.

const (
	pingXid   = -2
	opSetAnew = 101   // sets the client's watches on a new connection
	pingBytes = 4 + 8 // the length, the id and the operation
	headBytes = 16    // of a packet: enough for an id, and for the timeout and the session in a greeting

	// settingTakes is how long an answer on a new connection waits for the client to set its watches, where a quarter of a
	// request's bound is not less.
	settingTakes = time.Second
)

// wire is one connection of a session. Read and Write each are called by one goroutine at a time.
type wire struct {
	net.Conn
	s *session

	mu      sync.Mutex
	hello   backend.Instant   // when the client's greeting was sent
	greeted bool              // the server's greeting has come
	said    bool              // the client's was sent
	pings   []backend.Instant // sent and not answered, in order
	setting []int32           // the ids of what sets watches anew, sent and not answered
	heard   backend.Instant   // when something came last, or the connection was made

	set  chan struct{} // closed when watches are set anew
	once sync.Once     // closes it

	// What Read has seen of the packet that is coming in.
	length [4]byte
	head   [headBytes]byte
	seen   int // of length and head
	rest   int // bytes still to come; counts once length is complete

	begun bool // Read has returned something after the greeting
}

// Write notes when the greeting and each ping was sent, and what sets watches anew. The client writes each packet in one piece.
func (w *wire) Write(p []byte) (int, error) {
	now := backend.Now()
	w.mu.Lock()
	switch {
	case !w.said:
		w.hello, w.said = now, true
		w.s.greeting()
	case len(p) == pingBytes && int32(binary.BigEndian.Uint32(p[4:])) == pingXid:
		w.pings = append(w.pings, now)
	case len(p) >= pingBytes && binary.BigEndian.Uint32(p[8:]) == opSetAnew:
		w.setting = append(w.setting, int32(binary.BigEndian.Uint32(p[4:])))
		w.once.Do(func() { close(w.set) })
	}
	w.mu.Unlock()
	n, err := w.Conn.Write(p)
	w.s.sent()
	return n, err
}

// Read notes the server's greeting, the answers to pings, and that watches were set anew. The client sets them as of the last
// transaction that it knows of, which the goroutine that receives notes without asking whether another reads it (v1.0.4,
// sendSetWatches and recvLoop): so the first answer waits for that.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.mu.Lock()
		w.heard = backend.Now()
		greeted := w.greeted
		w.mu.Unlock()
		if greeted && !w.begun {
			w.begun = true
			w.awaitSetting()
		}
	}
	w.scan(p[:n])
	return n, err
}

func (w *wire) awaitSetting() {
	if !w.s.mayWatch() {
		return
	}
	enough := time.NewTimer(min(settingTakes, w.s.b.bound/4)) // it may have no watch any more
	defer enough.Stop()
	select {
	case <-w.set:
		return
	case <-enough.C:
	}
	select { // both may have come while this goroutine did not run
	case <-w.set:
	default:
	}
}

// quiet reports whether nothing has come since then.
func (w *wire) quiet(since backend.Instant) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.heard.Since(since) <= 0
}

// SetReadDeadline bounds the greeting, for which the client would wait for almost seven TTLs, and for the
// second half of it for ever.
func (w *wire) SetReadDeadline(t time.Time) error {
	w.mu.Lock()
	greeted := w.greeted
	w.mu.Unlock()
	if limit := time.Now().Add(w.s.b.bound); !greeted && (t.IsZero() || t.After(limit)) {
		t = limit
	}
	return w.Conn.SetReadDeadline(t)
}

func (w *wire) scan(p []byte) {
	for len(p) > 0 {
		if w.seen < len(w.length) {
			n := copy(w.length[w.seen:], p)
			w.seen += n
			p = p[n:]
			if w.seen == len(w.length) {
				w.rest = int(int32(binary.BigEndian.Uint32(w.length[:])))
				if w.greeted {
					w.s.comes(w.rest)
				}
				w.packet()
			}
			continue
		}
		n := min(len(p), w.rest)
		if at := w.seen - len(w.length); at < headBytes {
			w.seen += copy(w.head[at:], p[:n])
		}
		w.rest -= n
		p = p[n:]
		w.packet()
	}
}

// packet looks at the packet that came in, if it is complete.
func (w *wire) packet() {
	if w.rest > 0 {
		return
	}
	got := w.seen - len(w.length)
	w.seen = 0
	now := backend.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !w.greeted && got == headBytes:
		w.greeted = true
		timeout := time.Duration(int32(binary.BigEndian.Uint32(w.head[4:]))) * time.Millisecond
		w.s.greeted(w.hello, timeout, int64(binary.BigEndian.Uint64(w.head[8:])))
	case w.greeted && got >= 4 && int32(binary.BigEndian.Uint32(w.head[:])) == pingXid && len(w.pings) > 0:
		w.s.touch(w.pings[0], now)
		w.pings = w.pings[1:]
	case w.greeted && got >= 4 && len(w.setting) > 0:
		if at := slices.Index(w.setting, int32(binary.BigEndian.Uint32(w.head[:]))); at >= 0 {
			w.setting = slices.Delete(w.setting, at, at+1)
			w.s.setAnew()
		}
	}
}

// silence is the client's logger: what it would say is in the errors.
type silence struct{}

// Printf says nothing.
func (silence) Printf(string, ...any) {}
