package memory

// Keys returns how many keys the store of b knows.
func Keys(b *Backend) int {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	return len(b.store.keys)
}
