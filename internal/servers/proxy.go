//go:build unix

package servers

import (
	"context"
	"net/http"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Proxy stands between a client and a server, and passes on what they say to
// each other, both ways, until it is told otherwise. It is toxiproxy, in a
// process of its own.
//
// A direction that is cut is a network that is partitioned, as TCP sees it:
// connections stay open, nothing arrives, not even that the other side closed,
// and nothing is lost: what was sent meanwhile arrives, in order, when the
// direction heals. So a request that was sent into the cut reaches the server
// late, after its sender gave up on it, as it would from a network; a test that
// wants it gone calls Refuse before Heal. Three things differ from a network.
// A new connection is accepted, and opened to the server as well, but no byte
// follows; if the server refuses it, it is closed. What was on its way in the
// proxy at the moment of the cut may still arrive. And a direction holds a
// thousand writes, after which the sender's own socket fills up.
//
// Underneath, each direction has two toxics from the start, slow_close and
// latency, which hold ends of stream and data for a time that is zero, a delay,
// or for ever. (The obvious toxic, timeout, would not do: it throws the data
// away, passes ends of stream on, and closes its connections when removed.)
type Proxy struct {
	*Process

	t        testing.TB
	api      int // the port that toxiproxy listens on for our orders
	port     int // the one that it listens on for clients
	up, down time.Duration
}

// forever is how long a direction that is cut holds what it got. Toxiproxy
// counts in milliseconds, and a timer of a year is none that fires in a test.
const forever = 365 * 24 * time.Hour

// StartProxy starts a proxy to the server at upstream, a host and port, and
// waits until it listens.
func StartProxy(t testing.TB, upstream string) *Proxy {
	t.Helper()
	bin, err := Build(t.Context(), "toxiproxy")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{t: t, api: reservePort(t), port: reservePort(t)}
	p.Process = newProcess(t, spec{
		name:  "toxiproxy",
		path:  filepath.Join(bin, "server"),
		args:  []string{"-host=127.0.0.1", "-port=" + strconv.Itoa(p.api)},
		env:   []string{"LOG_LEVEL=info"},
		ready: func(ctx context.Context) error { return p.call(ctx, http.MethodGet, "/version", nil, nil) },
	})
	p.WaitReady()
	p.order("/proxies", map[string]any{"name": "proxy", "listen": loopback(p.port), "upstream": upstream})
	for _, direction := range []string{"upstream", "downstream"} {
		// In this order: an end of stream waits before it can overtake data.
		p.order("/proxies/proxy/toxics", toxic("slow_close", direction, 0))
		p.order("/proxies/proxy/toxics", toxic("latency", direction, 0))
	}
	return p
}

// Addr returns where clients connect to, as host and port.
func (p *Proxy) Addr() string { return loopback(p.port) }

// URL returns where clients connect to, as a URL of a server without TLS.
func (p *Proxy) URL() string { return loopbackURL(p.port) }

// Cut cuts both directions.
func (p *Proxy) Cut() {
	p.t.Helper()
	p.hold(forever, forever)
}

// CutUp cuts the direction from clients to the server: requests do not arrive,
// while what the server sends does. The other direction heals.
func (p *Proxy) CutUp() {
	p.t.Helper()
	p.hold(forever, 0)
}

// CutDown cuts the direction from the server to clients: requests arrive and
// are carried out, but are not seen to be. The other direction heals.
func (p *Proxy) CutDown() {
	p.t.Helper()
	p.hold(0, forever)
}

// Delay has all take d longer to arrive, in each direction.
func (p *Proxy) Delay(d time.Duration) {
	p.t.Helper()
	p.hold(d, d)
}

// Refuse closes all connections, with what they hold, and refuses new ones, as
// a machine does whose server is down.
func (p *Proxy) Refuse() {
	p.t.Helper()
	p.order("/proxies/proxy", map[string]any{"enabled": false})
}

// Heal undoes all of the above: what was held arrives, and new connections are
// welcome.
func (p *Proxy) Heal() {
	p.t.Helper()
	p.order("/proxies/proxy", map[string]any{"enabled": true})
	p.hold(0, 0)
}

// hold sets how long each direction holds what it gets. A direction that stays
// as it is is left alone, because an order lets go of what the toxic has in hand.
func (p *Proxy) hold(up, down time.Duration) {
	p.t.Helper()
	if up != p.up {
		p.set("upstream", up)
		p.up = up
	}
	if down != p.down {
		p.set("downstream", down)
		p.down = down
	}
}

func (p *Proxy) set(direction string, d time.Duration) {
	p.t.Helper()
	for _, kind := range []string{"latency", "slow_close"} {
		change := toxic(kind, direction, d)
		p.order("/proxies/proxy/toxics/"+change["name"].(string), change)
	}
}

// toxic describes a toxic that holds for d, as toxiproxy's API wants it.
func toxic(kind, direction string, d time.Duration) map[string]any {
	attribute := map[string]string{"latency": "latency", "slow_close": "delay"}[kind]
	return map[string]any{
		"name":       kind + "_" + direction,
		"type":       kind,
		"stream":     direction,
		"toxicity":   1,
		"attributes": map[string]any{attribute: d.Milliseconds()},
	}
}

func (p *Proxy) order(path string, in any) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	if err := p.call(ctx, http.MethodPost, path, in, nil); err != nil {
		p.t.Fatalf("order to the proxy: %v", err)
	}
}

func (p *Proxy) call(ctx context.Context, method, path string, in, out any) error {
	return call(ctx, method, loopbackURL(p.api)+path, in, out)
}
