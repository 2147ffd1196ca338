package memory

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
	for _, rec := range append([]*record{e.holder}, e.waiting...) {
		f(rec)
	}
}
