//go:build unix

package torture

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// register is the resource that leaders work on: two counters that they increment by reading and writing. One
// checks fencing tokens, on reads too, because what was read under an old token must not decide a write; the other
// one does not, and shows what that costs.
type register struct {
	url string

	mu     sync.Mutex
	fenced counter
	plain  counter
}

// counter is one of the two. Each accepted write meant to add one, so what is missing from the value was lost.
type counter struct {
	checks   bool
	value    int
	high     uint64
	accepted int
	refused  int
	runs     []run
	// overwrote is how many updates each token's writes undid, because they did not know of them. Writes meant
	// to add one; so together they are those that are missing.
	overwrote map[uint64]int
}

// run is a row of accepted writes by one writer under one token.
type run struct {
	who         string
	token       uint64
	first, last int64
}

var errStale = errors.New("the token is stale")

func (c *counter) admit(token uint64) error {
	if c.checks && token < c.high {
		c.refused++
		return errStale
	}
	c.high = max(c.high, token)
	return nil
}

func (c *counter) read(token uint64) (int, error) { return c.value, c.admit(token) }

func (c *counter) write(token uint64, who string, value int, at int64) error {
	if err := c.admit(token); err != nil {
		return err
	}
	if undone := c.value + 1 - value; undone != 0 {
		if c.overwrote == nil {
			c.overwrote = map[uint64]int{}
		}
		c.overwrote[token] += undone
	}
	c.value = value
	c.accepted++
	if n := len(c.runs); n == 0 || c.runs[n-1].token != token || c.runs[n-1].who != who {
		c.runs = append(c.runs, run{who: who, token: token, first: at})
	}
	c.runs[len(c.runs)-1].last = at
	return nil
}

// startRegister serves a register on loopback until the test ends.
func startRegister(t testing.TB) *register {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &register{url: "http://" + l.Addr().String(), fenced: counter{checks: true}}
	server := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // until Close
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return r
}

// ServeHTTP reads (GET) or writes (POST) a counter.
func (r *register) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	token, err := strconv.ParseUint(req.FormValue("token"), 10, 64)
	value, verr := strconv.Atoi(req.FormValue("value"))
	if err = errors.Join(err, verr); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &r.plain
	if req.URL.Path == "/fenced" {
		c = &r.fenced
	}
	if req.Method == http.MethodGet {
		value, err = c.read(token)
	} else {
		err = c.write(token, req.FormValue("who"), value, time.Now().UnixNano())
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	fmt.Fprint(w, value)
}

// wrote reports whether a fenced write was accepted after at.
func (r *register) wrote(at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.fenced.runs)
	return n > 0 && r.fenced.runs[n-1].last > at.UnixNano()
}

// counters returns copies of both.
func (r *register) counters() (fenced, plain counter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fenced, plain = r.fenced, r.plain
	fenced.runs, plain.runs = slices.Clone(fenced.runs), slices.Clone(plain.runs)
	fenced.overwrote, plain.overwrote = maps.Clone(fenced.overwrote), maps.Clone(plain.overwrote)
	return fenced, plain
}

// worker is a leader's side of the register. Its requests have no time limit: one that was given up could still
// arrive, and undo a later one of the same term.
type worker struct {
	url, who string
	client   *http.Client
}

func newWorker(url, who string) *worker {
	return &worker{url: url, who: who, client: &http.Client{Transport: &http.Transport{}}}
}

func (w *worker) close() { w.client.CloseIdleConnections() }

// increment adds one to both counters. Between reading and writing it thinks, so that the process is often
// stopped or killed there.
func (w *worker) increment(token uint64) error {
	const thought = 10 * time.Millisecond
	fenced, err := w.do(http.MethodGet, "/fenced", token, 0)
	if err != nil && !errors.Is(err, errStale) {
		return err
	}
	plain, perr := w.do(http.MethodGet, "/plain", token, 0)
	if perr != nil {
		return perr
	}
	timer := time.NewTimer(thought)
	defer timer.Stop()
	<-timer.C
	if err == nil {
		_, err = w.do(http.MethodPost, "/fenced", token, fenced+1)
	}
	_, perr = w.do(http.MethodPost, "/plain", token, plain+1)
	return errors.Join(err, perr)
}

func (w *worker) do(method, path string, token uint64, value int) (int, error) {
	url := fmt.Sprintf("%s%s?who=%s&token=%d&value=%d", w.url, path, w.who, token, value)
	req, err := http.NewRequest(method, url, nil) //nolint:noctx // it must not be given up, see worker
	if err != nil {
		return 0, err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, err
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return 0, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return strconv.Atoi(string(body))
	case http.StatusConflict:
		return 0, errStale
	default:
		return 0, fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
}
