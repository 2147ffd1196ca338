//go:build unix

package bench

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/stats"
)

// messages counts what a gRPC client sends, on streams too. (The server's own grpc_server_msg_received_total counts the end
// of a stream as one more.)
type messages struct{ calls *atomic.Int64 }

func (m messages) HandleRPC(_ context.Context, s stats.RPCStats) {
	if _, sent := s.(*stats.OutPayload); sent {
		m.calls.Add(1)
	}
}

func (messages) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (messages) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (messages) HandleConn(context.Context, stats.ConnStats)                       {}

// wire is how one HTTP client reaches its server: it counts requests, and can be cut, because some peers have queries
// that nothing else ends.
type wire struct {
	base  *http.Transport
	calls *atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	isCut bool
}

// newWire counts into calls, unless that is nil.
func newWire(calls *atomic.Int64, config *tls.Config) *wire {
	if calls == nil {
		calls = new(atomic.Int64)
	}
	w := &wire{calls: calls, conns: make(map[net.Conn]struct{})}
	w.base = &http.Transport{
		DialContext: w.dial, TLSClientConfig: config, ForceAttemptHTTP2: config != nil,
		MaxIdleConnsPerHost: 1 << 16, // an election that ends shall not cost the next one a connection
	}
	return w
}

func (w *wire) client() *http.Client { return &http.Client{Transport: w} }

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.calls.Add(1)
	return w.base.RoundTrip(r)
}

func (w *wire) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isCut {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	w.conns[conn] = struct{}{}
	return &counted{Conn: conn, w: w}, nil
}

// counted is a connection that is forgotten once it is closed.
type counted struct {
	net.Conn
	w *wire
}

func (c *counted) Close() error {
	c.w.mu.Lock()
	delete(c.w.conns, c.Conn)
	c.w.mu.Unlock()
	return c.Conn.Close()
}

// cut closes all connections, and lets no new one be made.
func (w *wire) cut() {
	w.mu.Lock()
	w.isCut = true
	for conn := range w.conns {
		_ = conn.Close()
	}
	w.mu.Unlock()
	w.base.CloseIdleConnections()
}
