package zookeeper

import "github.com/go-zookeeper/zk"

// The client has two buffers, one that a request is put together in and one that an answer is read into, which have 1.5 MB each if nothing is
// said. Few ever need as much: a value may have a megabyte, and a list of ten thousand candidates has more than half of one, but most have a
// few bytes. So they begin short, and grow when something is longer, for as long as the session lasts. The client has options for both, which
// are functions of the connection, and uses each of what they set in one goroutine: in the one that sends, which is in Write of the wire
// whenever it sends something, and in the one that receives, which has Read tell it how long an answer is before it looks whether
// there is room. So that is where they are set again, without another connection.

const (
	// maxRest is the longest request but for a value in it: the client sends watches anew in packets of 128 kB, and they would be
	// lost where there is no room. A hundred proofs with the longest keys have 60 kB.
	maxRest = 192 << 10

	// usualValue is the longest value for which there is room from the beginning.
	usualValue = 64 << 10

	// usualAnswer is the longest answer for which there is: a thousand candidates, or such a value.
	usualAnswer = usualValue + 1<<10
)

// makeRoom has the client have room for a request with value.
func (s *session) makeRoom(value []byte) error {
	s.mu.Lock()
	enough := s.roomy || len(value) <= usualValue
	s.cramped = s.cramped || !enough
	s.mu.Unlock()
	if enough {
		return nil
	}
	_, _, err := s.conn.Exists("/") // of which all that matters is that it is sent
	return err
}

// sent is called by the client's goroutine that sends, when it has.
func (s *session) sent() {
	s.mu.Lock()
	cramped := s.cramped
	if cramped {
		s.cramped, s.roomy = false, true
	}
	s.mu.Unlock()
	if cramped {
		zk.WithMaxConnBufferSize(MaxValueLen + maxRest)(s.conn)
	}
}

// comes is called by the client's goroutine that receives, when it is about to be told how long an answer is.
func (s *session) comes(length int) {
	s.mu.Lock()
	longer := length > s.longest
	s.longest = max(length, s.longest)
	s.mu.Unlock()
	if longer {
		zk.WithMaxBufferSize(length)(s.conn)
	}
}
