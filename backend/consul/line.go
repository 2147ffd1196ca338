package consul

import "slices"

// line is of keys that wait for a query. Those that do not wait any more are forgotten now and then. It is guarded by
// Backend.mu.
type line []*sight

// join puts s at the end, unless it is there.
func (q *line) join(b *Backend, s *sight) {
	if s.inLine {
		return
	}
	if len(*q) > 2*len(b.sights)+b.maxQueries {
		*q = slices.DeleteFunc(*q, func(s *sight) bool {
			s.inLine = b.waits(s)
			return !s.inLine
		})
	}
	s.inLine = true
	*q = append(*q, s)
}

// next takes the first that still waits, or nil.
func (q *line) next(b *Backend) *sight {
	if q.empty(b) {
		return nil
	}
	return q.pop()
}

// empty reports whether nobody waits.
func (q *line) empty(b *Backend) bool {
	for len(*q) > 0 && !b.waits((*q)[0]) {
		q.pop()
	}
	return len(*q) == 0
}

func (q *line) pop() *sight {
	s := (*q)[0]
	(*q)[0] = nil
	*q = (*q)[1:]
	s.inLine = false
	return s
}

// waits reports whether s needs a query and has none. b.mu is held.
func (b *Backend) waits(s *sight) bool {
	return b.sights[s.key] == s && !s.query && s.wanted() && !b.holds(s.key)
}
