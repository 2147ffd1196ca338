// Package errand runs what is to be done now and then, for many elections at once, without a goroutine for each that
// waits for it.
package errand

import "sync"

// Errand is something to do whenever it is called for: in a goroutine of its own, one at a time, and in none while
// nobody calls. It is safe for concurrent use.
type Errand struct {
	do func()

	mu      sync.Mutex
	again   bool          // called for while it ran
	stopped bool          // is not done any more
	running chan struct{} // closed when the run under way has ended; nil while there is none
}

// New makes an Errand that is done by do.
func New(do func()) *Errand { return &Errand{do: do} }

// Once has do done once, in a goroutine of its own. stop waits for it, or keeps it from being done.
func Once(do func()) (stop func()) {
	e := New(do)
	e.Call()
	return e.Stop
}

// Call has it done: at once, or once more when the run under way has ended. It does not block.
func (e *Errand) Call() {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.stopped:
	case e.running != nil:
		e.again = true
	default:
		e.running = make(chan struct{})
		go e.run(e.running)
	}
}

func (e *Errand) run(done chan struct{}) {
	defer close(done)
	for {
		e.do()
		e.mu.Lock()
		if !e.again || e.stopped {
			e.running = nil
			e.mu.Unlock()
			return
		}
		e.again = false
		e.mu.Unlock()
	}
}

// Retire lets nobody call for it any more. It does not wait for the run under way, and may be called in it.
func (e *Errand) Retire() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopped = true
}

// Stop is Retire, and waits for the run under way.
func (e *Errand) Stop() {
	e.mu.Lock()
	e.stopped = true
	running := e.running
	e.mu.Unlock()
	if running != nil {
		<-running
	}
}
