package consul

import "time"

// MaxWindow is the longest time that a free key is left alone by somebody who has met others.
const MaxWindow = maxWindow

// HeldQueries is how many queries block on held keys at most, where more are held than could have one.
const HeldQueries = heldQueries

// Lingering is how long a query goes on for nobody.
const Lingering = lingering

// Window is a window, for tests.
type Window struct{ w window }

func (w Window) Draw() time.Duration { return w.w.draw() }

func (w *Window) Late(drawn, took time.Duration) { w.w = w.w.late(drawn, took) }

func (w *Window) Won(drawn time.Duration) { w.w = w.w.won(drawn) }

func (w Window) None() bool { return w.w == 0 }
