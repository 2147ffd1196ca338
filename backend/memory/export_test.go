package memory

import "github.com/hustings-go/hustings/backend"

// TimerRuns reports whether the timer of a lease's record runs, and stops it.
func TimerRuns(l backend.Lease) bool { return l.(*lease).rec.timer.Stop() }

// Records returns how many records of key the store of b has.
func Records(b *Backend, key string) int {
	n := 0
	b.each(key, func(*record) { n++ })
	return n
}

// Keys returns how many keys the store of b knows.
func Keys(b *Backend) int {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	return len(b.store.keys)
}

// StopTimers stops the timers of all records of key, as if they were late.
func StopTimers(b *Backend, key string) {
	b.each(key, func(rec *record) {
		if rec.timer != nil {
			rec.timer.Stop()
		}
	})
}

// FireTimers does what the timers of all records of key do, as if they had fired just before they were
// set anew.
func FireTimers(b *Backend, key string) {
	var all []*record
	b.each(key, func(rec *record) { all = append(all, rec) })
	for _, rec := range all {
		b.store.lapse(rec)
	}
}

func (b *Backend) each(key string, f func(rec *record)) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	e := b.store.keys[key]
	if e == nil {
		return
	}
	for _, rec := range append([]*record{e.holder}, e.waiting...) {
		if rec != nil {
			f(rec)
		}
	}
}
