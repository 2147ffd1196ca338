//go:build unix

package faults

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Register is a resource that leaders write to: it refuses a token lower than the highest that it has seen,
// as every resource behind an election should, and remembers all that it was asked.
type Register struct {
	url string

	mu     sync.Mutex
	writes []Write
	high   uint64
}

// Write is one attempt to write.
type Write struct {
	Who      string
	Token    uint64
	At       time.Time
	Accepted bool
}

// NewRegister serves a register on loopback until the test ends.
func NewRegister(t testing.TB) *Register {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Register{url: "http://" + l.Addr().String()}
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

// ServeHTTP takes a write: its token and its writer are in the query.
func (r *Register) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	token, err := strconv.ParseUint(req.FormValue("token"), 10, 64)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	ok := token >= r.high
	r.high = max(r.high, token)
	r.writes = append(r.writes, Write{Who: req.FormValue("who"), Token: token, At: time.Now(), Accepted: ok})
	if !ok {
		http.Error(w, "stale token", http.StatusConflict)
	}
}

// Writes returns all that the register was asked so far.
func (r *Register) Writes() []Write {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Write(nil), r.writes...)
}

// Check fails the test if a write of an older term was accepted after one of a newer term.
func (r *Register) Check(t testing.TB) {
	t.Helper()
	var high uint64
	holder := map[uint64]string{}
	for i, w := range r.Writes() {
		if w.Accepted && w.Token < high {
			t.Errorf("write %d: token %d of %s was accepted after %d", i, w.Token, w.Who, high)
		}
		if who := holder[w.Token]; who != "" && who != w.Who {
			t.Errorf("write %d: token %d was used by %s and by %s", i, w.Token, who, w.Who)
		}
		holder[w.Token] = w.Who
		high = max(high, w.Token)
	}
}

// write is a leader's side of a write.
func write(ctx context.Context, client *http.Client, url, who string, token uint64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("%s/?who=%s&token=%d", url, who, token), nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	return err
}
