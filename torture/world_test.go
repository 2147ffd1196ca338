//go:build unix

package torture

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hustings-go/hustings/internal/servers"
	"github.com/hustings-go/hustings/torture/stores"
)

// world is everything that a run consists of. All its methods belong to the test's own goroutine.
type world struct {
	testing.TB
	store    stores.Store
	timing   timing
	cluster  stores.Cluster
	down     []bool // members that do not run
	register *register
	cast     []*candidate
	watch    *watch
	history  *history
}

// candidate is a process that stands for election, and its way to the store.
type candidate struct {
	*servers.Self
	name    string
	links   []*servers.Proxy
	log     string // path of what it tells
	read    int64  // how much of that is known
	dead    bool
	stopped bool
	severed bool // something is wrong with its links
}

// build starts the store, the register, and n candidates.
func build(t testing.TB, store stores.Store, n int) *world {
	t.Helper()
	w := &world{
		TB: t, store: store, timing: timing{store.TTL, store.Expiry, store.Recovery},
		cluster: store.Start(t, store.Members), register: startRegister(t), history: newHistory(),
	}
	w.down = make([]bool, store.Members)
	w.watch = startWatch(t, store, w.cluster)
	dir := t.TempDir()
	for i := range n {
		w.enter(i, dir)
	}
	return w
}

// enter starts a candidate. It knows two members, so that it can get around one that is down, or what else its
// store wants it to know, and reaches each through a proxy of its own.
func (w *world) enter(i int, dir string) {
	w.Helper()
	const members = 2
	c := &candidate{name: string(rune('a' + i))}
	c.log = filepath.Join(dir, c.name+".log")
	var ways []string
	for _, server := range w.cluster.Known(i, members) {
		link := servers.StartProxy(w.TB, server)
		c.links = append(c.links, link)
		ways = append(ways, server+"="+link.Addr())
	}
	env := []string{
		envStore + "=" + w.store.Name, envWays + "=" + strings.Join(ways, ","), envName + "=" + c.name,
		envRegister + "=" + w.register.url, envLog + "=" + c.log,
		"GORACE=atexit_sleep_ms=0", // or a leader would leave its process a second before that is seen to have ended
	}
	if i%2 == 1 {
		env = append(env, envClings+"=1")
	}
	c.Self = servers.StartSelf(w.TB, roleCandidate, env...)
	w.cast = append(w.cast, c)
}

// who is the process that a candidate is now, as its log names it.
func (c *candidate) who() string { return fmt.Sprintf("%s.%d", c.name, c.PID()) }

// listen reads what the candidates have logged since the last time.
func (w *world) listen() {
	w.Helper()
	for _, c := range w.cast {
		if err := c.listen(w.history); err != nil {
			w.Fatalf("log of %s: %v", c.name, err)
		}
	}
}

func (c *candidate) listen(h *history) error {
	file, err := os.Open(c.log)
	if os.IsNotExist(err) {
		return nil // it has just been started
	}
	if err != nil {
		return err
	}
	defer file.Close()
	text, err := io.ReadAll(io.NewSectionReader(file, c.read, 1<<40))
	if err != nil {
		return err
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1] // a line counts once it is ended
	c.read += int64(len(text))
	for line := range strings.Lines(string(text)) {
		if err := h.line(line); err != nil {
			return err
		}
	}
	return nil
}

// leads returns the candidate that leads, as far as is known, and its term.
func (w *world) leads() (*candidate, *term) {
	w.listen()
	t := w.history.leader()
	if t == nil {
		return nil, nil
	}
	for _, c := range w.cast {
		if c.who() == t.who {
			return c, t
		}
	}
	return nil, nil
}

// ready waits until all candidates stand for election, and one has written.
func (w *world) ready() {
	w.Helper()
	const patience = time.Minute // for what is started, on a machine that is busy
	if !w.within(patience, "candidates to stand and one to lead", func() bool {
		return w.standing() && w.register.wrote(time.Time{})
	}) {
		w.Fatal("the election did not begin")
	}
}

// standing reports whether all candidates' processes have begun to listen to signals, those that were started
// again just now too.
func (w *world) standing() bool {
	w.Helper()
	w.listen()
	return !slices.ContainsFunc(w.cast, func(c *candidate) bool { return !w.history.started[c.who()] })
}

// within waits until cond holds, and reports whether it did in time.
func (w *world) within(d time.Duration, what string, cond func() bool) bool {
	w.Helper()
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !cond() {
		select {
		case <-poll.C:
		case <-deadline.C:
			w.Logf("waited %v in vain for %s", d, what)
			return false
		}
	}
	return true
}

// leave has all candidates leave, one after the other, and returns who did not do so in order.
func (w *world) leave() (bad []string) {
	w.Helper()
	for _, c := range w.cast {
		c.Stop()
		w.listen()
		if _, ok := w.history.leaks[c.who()]; !ok {
			bad = append(bad, c.name+" did not leave in order")
		}
	}
	return bad
}

// keep copies the logs to a folder that outlives the test, and returns its name.
func (w *world) keep() (string, error) {
	dir, err := os.MkdirTemp("", "hustings-torture-")
	if err != nil {
		return "", err
	}
	for _, c := range w.cast {
		text, err := os.ReadFile(c.log)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(c.log)), text, 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
}
