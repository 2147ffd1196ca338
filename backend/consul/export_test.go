package consul

import "time"

// MaxWindow is the longest time that a free key is left alone by somebody who has met others.
const MaxWindow = maxWindow

// HeldQueries is how many queries block on held keys at most, where more are held than could have one.
const HeldQueries = heldQueries

// MaxTurns is how many single requests are under way at most.
const MaxTurns = maxTurns

// Lingering is how long a query goes on for nobody.
const Lingering = lingering

// WakeTime is how long a query that is about to end is waited for.
const WakeTime = wakeTime

// Window is a window, for tests.
type Window struct{ w window }

func (w Window) Draw() time.Duration { return w.w.draw() }

func (w *Window) Late(drawn, took time.Duration) { w.w = w.w.late(drawn, took) }

func (w Window) Busy(took time.Duration) Window { return Window{w.w.busy(took)} }

func (w *Window) Looked(took time.Duration) { w.w = w.w.looked(took) }

// Length is the window.
func (w Window) Length() time.Duration { return time.Duration(w.w) }

// WindowOf is the window that b remembers for key.
func (b *Backend) WindowOf(key string) time.Duration { return time.Duration(b.window(key)) }

// KeepWindow has b remember a window.
func (b *Backend) KeepWindow(key string, w Window) { b.keepWindow(key, w.w) }

// Windows is how many windows b remembers.
func (b *Backend) Windows() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.windows)
}

// MaxWindows is how many windows are remembered at most.
const MaxWindows = maxWindows

// Sessions is how many sessions b remembers.
func (b *Backend) Sessions() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.sessions)
}

func (w *Window) Won(drawn time.Duration) { w.w = w.w.won(drawn) }

func (w Window) None() bool { return w.w == 0 }
