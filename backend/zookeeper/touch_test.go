package zookeeper

import (
	"encoding/binary"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend"
)

// at is a moment on clocks that agree.
func at(d time.Duration) backend.Instant { return backend.InstantAt(d, 1000*time.Hour+d, 0) }

func TestAPromiseCountsFromWhatWasAnsweredATickBefore(t *testing.T) {
	const s = time.Second
	session := &session{timeout: 15 * s, history: touches{tick: 2 * s}}
	check := func(now, want time.Duration) {
		t.Helper()
		if g := session.promise(at(now)); g.Sent != at(now) || g.TTL != want {
			t.Errorf("at %v the promise is %v, want %v", now, g.TTL, want)
		}
	}
	session.history.greet(at(0))
	check(0, 15*s)
	check(1*s, 14*s)
	session.touch(at(3*s), at(4*s))
	check(5*s, 10*s) // 1 s after the answer: the leader may not have heard yet
	check(6*s, 12*s)
	session.touch(at(7*s), at(7*s))
	session.touch(at(7100*time.Millisecond), at(7100*time.Millisecond)) // thinned out
	session.touch(at(8*s), at(11*s))
	check(10*s, 12*s)
	check(12*s, 10*s)
	check(13*s, 10*s)
	session.history.greet(at(14 * s)) // another connection, vouched for by the leader
	check(14*s, 15*s)
	check(20*s, 9*s)
}

func TestATickIsMeasuredByTheClockThatCountsLeast(t *testing.T) {
	const s = time.Second
	h := touches{tick: 2 * s}
	h.greet(backend.InstantAt(0, 0, 0))
	h.add(backend.InstantAt(10*s, 10*s, 0), backend.InstantAt(10*s, 10*s, 0))
	if got := h.at(backend.InstantAt(11*s, time.Hour, 0)); got != backend.InstantAt(0, 0, 0) {
		t.Error("a wall clock set forward made an answer a tick old")
	}
	if got := h.at(backend.InstantAt(12*s, 12*s, 0)); got != backend.InstantAt(10*s, 10*s, 0) {
		t.Error("an answer that is a tick old does not count")
	}
}

// scripted is a connection that takes all and hands out what was prepared, in pieces.
type scripted struct {
	net.Conn
	in    []byte
	piece int
}

func (c *scripted) Write(p []byte) (int, error) { return len(p), nil }

func (c *scripted) Read(p []byte) (int, error) {
	n := copy(p[:min(len(p), c.piece)], c.in)
	c.in = c.in[n:]
	return n, nil
}

func packet(body ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// counter counts what it heard.
type counter map[zk.EventType]int

func (c counter) heard(_ *ear, kind zk.EventType) { c[kind]++ }

func TestTheWireIsReadInAnyPieces(t *testing.T) {
	greeting := packet(append([]byte{0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 7}, make([]byte, 21)...)...)
	pong := packet(append([]byte{0xff, 0xff, 0xff, 0xfe}, make([]byte, 12)...)...)
	answer := packet(append([]byte{0, 0, 0, 1}, make([]byte, 100)...)...)
	event := packet(append([]byte{0xff, 0xff, 0xff, 0xff}, make([]byte, 30)...)...)
	for piece := 1; piece < 70; piece++ {
		heard := make(counter)
		session := &session{b: &Backend{bound: maxRequest}, conn: new(zk.Conn), history: touches{tick: time.Nanosecond}, watches: map[subject][]*ear{{path: "/"}: {{who: heard}}}}
		conn := &scripted{piece: piece}
		w := &wire{Conn: conn, s: session, set: make(chan struct{})}
		for range 3 { // the greeting, and two pings
			_, _ = w.Write([]byte{0, 0, 0, 8, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 11})
		}
		for _, id := range []byte{1, 2} { // what sets watches anew
			_, _ = w.Write([]byte{0, 0, 0, 8, 0, 0, 0, id, 0, 0, 0, 101})
		}
		if !session.unheard(0) {
			t.Fatal("a greeting that was not answered is not noticed")
		}
		for _, in := range [][]byte{greeting, answer, event, packet(), pong} {
			conn.in = append(conn.in, in...)
		}
		for len(conn.in) > 0 {
			_, _ = w.Read(make([]byte, 64))
		}
		if session.unheard(0) || session.identity() != 7 || session.ttl() != 4096*time.Millisecond || len(w.pings) != 1 || len(session.history.young) != 1 {
			t.Fatalf("in pieces of %d: session %d of %v, %d pings are open, %d were answered; want session 7 of 4.096s, 1 and 1",
				piece, session.identity(), session.ttl(), len(w.pings), len(session.history.young))
		}
		if want := 4 + 100; session.longest != want {
			t.Fatalf("in pieces of %d: the longest answer has %d bytes, want %d", piece, session.longest, want)
		}
		if heard[zk.EventSession] != 1 || len(w.setting) != 1 {
			t.Fatalf("in pieces of %d: told %d times that watches were set, and %d are to be; want 1 and 1", piece, heard[zk.EventSession], len(w.setting))
		}
	}
}

// The first answer on a new connection waits for the client to set its watches, if it may have any, and not for long.
func TestTheFirstAnswerWaitsForTheWatches(t *testing.T) {
	for name, c := range map[string]struct{ watched, sets bool }{
		"no watch was set": {false, false},
		"they are set":     {true, true},
		"none is left":     {true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				session := &session{b: &Backend{bound: maxRequest}, conn: new(zk.Conn), history: touches{tick: time.Nanosecond}, watched: c.watched}
				answer := packet(append([]byte{0, 0, 0, 1}, make([]byte, 100)...)...)
				w := &wire{Conn: &scripted{piece: 200, in: answer}, s: session, set: make(chan struct{}), said: true, greeted: true}
				start, took := time.Now(), make(chan time.Duration, 1)
				go func() {
					_, _ = w.Read(make([]byte, len(answer)))
					took <- time.Since(start)
				}()
				synctest.Wait()
				if waits := len(took) == 0; waits != c.watched {
					t.Fatalf("the answer waits: %v, want %v", waits, c.watched)
				}
				most := settingTakes
				if c.sets {
					_, _ = w.Write([]byte{0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 101})
					most = 0
				}
				if d := <-took; d > most {
					t.Errorf("the answer came after %v, want %v at most", d, most)
				}
			})
		})
	}
}

func TestServersAreTriedInTurn(t *testing.T) {
	h := &hosts{}
	_ = h.Init([]string{"a", "b"})
	var got string
	for range 12 {
		server, pause := h.Next()
		if pause {
			got += "-"
		}
		got += server
	}
	if want := "abababab-ab-ab"; got != want { // three short pauses, and then the client's own
		t.Errorf("tried %s, want %s", got, want)
	}
	h.Connected()
	if server, pause := h.Next(); server != "a" || pause {
		t.Errorf("after a success: %s, pause %v", server, pause)
	}
}

func TestTheQueueIsOrderedAsCuratorOrdersIt(t *testing.T) {
	got, err := queue([]string{
		"_c_ffff-latch-0000000010", "_c_0000-latch-0000000011", "b", "latch-", "_c_x-latch-12", "_c_y-lock-0000000001",
		"_c_6f0b1f0e-3f42-4a5b-8d3c-000000000000-latch-0000000002", "latch-0000000001", "lease-0000000000",
	})
	want := []string{"latch-0000000001", "_c_6f0b1f0e-3f42-4a5b-8d3c-000000000000-latch-0000000002", "_c_ffff-latch-0000000010", "_c_0000-latch-0000000011"}
	if err != nil || len(got) != len(want) {
		t.Fatalf("%q, error %v, want %q", got, err, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, name := range []string{"x-latch--2147483648", "x-latch--000000001"} {
		if _, err := queue([]string{name}); err == nil {
			t.Errorf("%s: a sequence number that ran over is taken for a place in the queue", name)
		}
	}
}

// A grant that another term's renewal earned is handed on only if it promises no more than this term's own proof.
func TestARhythmPromisesNoMoreThanTheProof(t *testing.T) {
	const s = time.Second
	grant := func(sent, ttl time.Duration) backend.Grant { return backend.Grant{Sent: at(sent), TTL: ttl} }
	for name, c := range map[string]struct{ beat, had, got, want backend.Grant }{
		"of late":             {grant(10*s, 11*s), grant(6*s, 11*s), grant(12*s, 11*s), grant(10*s, 11*s)},
		"the same moment":     {grant(10*s, 11*s), grant(6*s, 11*s), grant(10*s, 11*s), grant(10*s, 11*s)},
		"a fifth of a TTL":    {grant(10*s, 11*s), grant(6*s, 11*s), grant(13*s, 11*s), grant(13*s, 11*s)},
		"no news":             {grant(10*s, 11*s), grant(10*s, 11*s), grant(12*s, 11*s), grant(12*s, 11*s)},
		"the first":           {backend.Grant{}, grant(6*s, 11*s), grant(12*s, 11*s), grant(12*s, 11*s)},
		"it promises more":    {grant(10*s, 14*s), grant(6*s, 11*s), grant(12*s, 11*s), grant(12*s, 11*s)},
		"it leaves little":    {grant(10*s, 7*s), grant(6*s, 11*s), grant(12*s, 11*s), grant(12*s, 11*s)},
		"it is of the future": {grant(13*s, 11*s), grant(6*s, 11*s), grant(12*s, 11*s), grant(12*s, 11*s)},
	} {
		session := &session{timeout: 15 * s, beat: c.beat}
		if got := session.inStep(&candidacy{grant: c.had}, c.got, 3*s); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
