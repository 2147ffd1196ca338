//go:build unix

package bench

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/stats"
)

// messages counts what a gRPC client sends, on streams too. (The server's own grpc_server_msg_received_total counts the end
// of a stream as one more.)
type messages struct {
	calls    *atomic.Int64
	noUpkeep bool
}

type upkeepKey struct{}

func (m messages) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if _, sent := s.(*stats.OutPayload); sent && (!m.noUpkeep || ctx.Value(upkeepKey{}) == nil) {
		m.calls.Add(1)
	}
}

func (messages) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	if strings.HasSuffix(info.FullMethodName, "/LeaseKeepAlive") {
		return context.WithValue(ctx, upkeepKey{}, true)
	}
	return ctx
}

func (messages) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (messages) HandleConn(context.Context, stats.ConnStats)                       {}

// roundTrips counts those of a client of Redis: what it sends before it reads an answer is one, in however many packets. So
// a pipeline is one, as is a single command, and what sets a connection up. (The server's own total_reads_processed counts
// a large pipeline once for each 16 to 32 kB, and total_commands_processed the commands within scripts.)
type roundTrips struct{ calls *atomic.Int64 }

func (r roundTrips) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &roundTripConn{Conn: conn, calls: r.calls}
	c.answered.Store(true)
	return c, nil
}

type roundTripConn struct {
	net.Conn
	calls    *atomic.Int64
	answered atomic.Bool // something was read since the last write, or nothing was written yet
}

func (c *roundTripConn) Write(p []byte) (int, error) {
	if c.answered.Swap(false) {
		c.calls.Add(1)
	}
	return c.Conn.Write(p)
}

func (c *roundTripConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.answered.Store(true)
	}
	return n, err
}

// wire is how one HTTP client reaches its server: it counts requests, and can be cut, because some peers have queries
// that nothing else ends.
type wire struct {
	base     *http.Transport
	calls    *atomic.Int64
	noUpkeep bool

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	isCut bool
}

// newWire makes one for a session at p.
func newWire(p place, config *tls.Config) *wire {
	calls := p.calls
	if calls == nil {
		calls = new(atomic.Int64)
	}
	w := &wire{calls: calls, noUpkeep: p.NoUpkeep, conns: make(map[net.Conn]struct{})}
	w.base = &http.Transport{
		DialContext: w.dial, TLSClientConfig: config, ForceAttemptHTTP2: config != nil,
		MaxIdleConnsPerHost: 1 << 16, // an election that ends shall not cost the next one a connection
	}
	return w
}

func (w *wire) client() *http.Client { return &http.Client{Transport: w} }

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if !w.noUpkeep || !strings.HasPrefix(r.URL.Path, "/v1/session/renew/") {
		w.calls.Add(1)
	}
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
