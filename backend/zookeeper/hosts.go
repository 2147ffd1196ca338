package zookeeper

import "time"

// hosts hands the client one server after the other, by the names that New was given: the client's own
// provider resolves them once and for all, and hides them from a TLS dialer. The client uses it from one
// goroutine.
type hosts struct {
	stop <-chan struct{} // ends a pause

	servers []string
	next    int
	tries   int // since a connection was made
}

// Init takes the servers, in the random order that the client put them in.
func (h *hosts) Init(servers []string) error {
	h.servers = servers
	return nil
}

// Len tells how many servers there are.
func (h *hosts) Len() int { return len(h.servers) }

// Next tells which server to try. After each round without success there is a pause. The client's own is a
// second, and fails the requests that wait; that is long beside a TTL when a server only had to close a
// connection, so the first ones are shorter.
func (h *hosts) Next() (server string, pause bool) {
	if round := h.tries / len(h.servers); round > 0 && h.tries%len(h.servers) == 0 {
		pause = !h.breathe(round)
	}
	h.tries++
	server = h.servers[h.next]
	h.next = (h.next + 1) % len(h.servers)
	return server, pause
}

// breathe makes one of the short pauses, and reports whether there was one for this round.
func (h *hosts) breathe(round int) bool {
	short := [...]time.Duration{10 * time.Millisecond, 50 * time.Millisecond, 250 * time.Millisecond}
	if round > len(short) {
		return false
	}
	timer := time.NewTimer(short[round-1])
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-h.stop:
	}
	return true
}

// Connected tells that the last server was reached.
func (h *hosts) Connected() { h.tries = 0 }
