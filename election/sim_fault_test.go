package election

import "time"

// strike lets one planned thing happen.
func (w *world) strike(f fault) {
	if h := w.leading(); h != nil && f.n&2 != 0 {
		f.host = h.id // where it hurts
	}
	h := w.hosts[f.host]
	breaks := f.kind.breaks()
	if h.deceived(&f) {
		if breaks = breaks3; w.trust {
			f.kind, breaks = faultStop, holds
		}
	}
	if f.kind == faultDenied {
		f.dur *= 2 // three answers, a TTL apart each, are final
	}
	f.dur = min(f.dur, w.peace-w.now)
	w.note(h, faultNames[f.kind], uint64(f.dur))
	w.stats.struck[f.kind]++
	if f.kind.shakes() {
		h.note(f)
	}
	w.check.excuse(f, breaks)
	switch f.kind {
	case faultCut:
		w.during(f, func(n int) { h.cutTo += n; h.cutFrom += n })
	case faultCutTo:
		w.during(f, func(n int) { h.cutTo += n })
	case faultCutFrom:
		w.during(f, func(n int) { h.cutFrom += n })
	case faultSlow:
		w.during(f, func(n int) { h.slow += n })
	case faultDrop:
		w.during(f, func(n int) { h.drop += n })
	case faultCrash:
		h.crash(f.dur)
	case faultCrashAll:
		for _, h := range w.hosts {
			h.crash(f.dur)
		}
	case faultStop:
		w.freeze(f, gaitStopped)
	case faultSuspend:
		w.freeze(f, gaitSuspended)
	case faultDoze:
		w.freeze(f, gaitDozing)
	case faultPause:
		w.freeze(f, gaitPaused)
	case faultStep, faultWobble:
		step := time.Duration(f.n % int64(2*w.ttl))
		if f.n%5 == 0 {
			step = time.Duration(f.n % int64(2*time.Hour))
		}
		if f.n&4 != 0 {
			step = -step
		}
		h.set(step)
		if f.kind == faultWobble {
			w.at(w.now+f.dur/4, func() { h.set(-step) })
		}
	case faultRate:
		ppm := [...]int64{-500_000, -100_000, -20_000, 20_000, 100_000, 1_000_000}[f.n>>3%6]
		w.during(f, func(n int) { h.pace(int64(n) * ppm) })
	case faultStale:
		if news := w.store.news; h.stale == 0 && len(news) > 0 {
			h.old = news[f.n>>3%int64(len(news))]
		}
		w.during(f, func(n int) { h.stale += n })
		h.run(func() { h.reconnect() }) // to that server
	default:
		w.strikeStore(f, h)
	}
}

// deceived reports whether all clocks of the host together do not see how much time passes: without a clock that
// counts in a suspend, the wall clock alone does, and setting it in the same lease can hide the suspend.
func (h *host) deceived(f *fault) bool {
	lease := h.w.check.granted * 102 / 100
	switch {
	case !h.clock.blind:
		return false
	case f.kind == faultSuspend, f.kind == faultDoze:
		h.slept = max(h.slept, h.w.now+f.dur)
		return f.kind == faultDoze || h.w.now < h.stepped+lease
	case f.kind == faultStep, f.kind == faultWobble:
		h.stepped = max(h.stepped, h.w.now+f.dur)
		return h.w.now < h.slept+lease
	default:
		return false
	}
}

// leading is where the holder of the key runs.
func (w *world) leading() *host {
	if r := w.store.holder; r != nil && r.c != nil {
		return r.c.client.p.h
	}
	return nil
}

func (w *world) strikeStore(f fault, h *host) {
	s := w.store
	switch f.kind {
	case faultStoreDown:
		w.during(f, func(n int) { s.down += n })
	case faultFailover:
		f.dur /= 4
		w.during(f, func(n int) { s.down += n })
		w.at(w.now+f.dur, s.restartLeases)
	case faultDenied:
		w.during(f, func(n int) { s.denied += n })
	case faultReadOnly:
		w.during(f, func(n int) { s.full += n })
	case faultRegrant:
		w.granted = w.ttl * time.Duration(80+f.n%60) / 100
		w.check.granted = max(w.check.granted, w.granted)
	case faultSilent:
		w.during(f, func(n int) { s.silent += n })
	case faultRepeat:
		w.during(f, func(n int) { s.repeat += n })
	case faultLoseTail:
		s.forget(int(f.n % 4))
	case faultRestore:
		s.forget(int(f.n % 8))
	case faultEarly:
		s.end(s.holder, "early expiry")
	case faultJump:
		s.jump()
	case faultRevoke:
		s.revoke(f.n >> 2)
	case faultDelete:
		s.delete()
	case faultEdit:
		s.usurp()
	case faultScribble:
		if s.holder != nil {
			s.holder.value = []byte("\x00scribble\xff")
			s.changed()
		}
	default:
		if h.proc != nil {
			h.run(func() { h.proc.wish(f) })
		}
	}
}

func (w *world) during(f fault, change func(int)) {
	change(1)
	w.at(w.now+f.dur, func() {
		change(-1)
		w.note(nil, "over: "+faultNames[f.kind], 0)
	})
}

func (w *world) freeze(f fault, g gait) {
	h := w.hosts[f.host]
	h.freeze(g, 1)
	w.at(w.now+f.dur, func() {
		w.note(h, "runs again", 0)
		h.freeze(g, -1)
	})
}

// reconnect breaks the observation that is under way.
func (h *host) reconnect() {
	if h.proc != nil && h.proc.client.observing != nil {
		h.proc.client.observing.failed(errSimTimeout)
	}
}

// set steps the wall clock.
func (h *host) set(step time.Duration) {
	h.clock.change(h.w.now, h.clock.gait, step)
	h.outage = h.w.now
}

// note remembers that the host itself was not itself, which excuses the loss of a term.
func (h *host) note(f fault) {
	h.outage = max(h.outage, h.w.now+f.dur)
}

// crash ends the process without a word.
func (h *host) crash(pause time.Duration) {
	if h.proc == nil {
		return
	}
	h.proc.dead = true
	h.stalled = nil
	h.w.check.gone(h.proc)
	h.proc = nil
	h.w.at(h.w.now+pause, func() {
		if h.proc == nil && !h.w.closing {
			h.run(func() { newProcess(h) })
		}
	})
}

// heal ends every fault that is still under way, lets stuck work return, and starts what has crashed.
func (w *world) heal() {
	w.calm = true
	for _, h := range w.hosts {
		if h.proc == nil {
			newProcess(h)
		} else {
			h.proc.loop.hurry()
		}
	}
}
