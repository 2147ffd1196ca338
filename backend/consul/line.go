package consul

import (
	"slices"
)

// line is of keys that wait for a query.
type line struct {
	keys []*sight
	held bool // those that are held here, which can do without
}

// join puts s at the end, unless it is there. Who has left is forgotten now and then. Backend.mu is held.
func (q *line) join(b *Backend, s *sight) {
	if s.in == q {
		return
	}
	s.in = q
	if len(q.keys) > 2*len(b.sights)+b.maxQueries {
		q.keys = slices.DeleteFunc(q.keys, func(s *sight) bool { return !q.has(b, s) && q.let(s) })
	}
	q.keys = append(q.keys, s)
}

// has reports whether s, which has joined, waits still.
func (q *line) has(b *Backend, s *sight) bool {
	return s.in == q && b.sights[s.key] == s && !s.query && s.wanted() && b.holds(s.key) == q.held
}

// let has s out, who may join again.
func (q *line) let(s *sight) bool {
	if s.in == q {
		s.in = nil
	}
	return true
}

// next takes the first, or nil.
func (q *line) next(b *Backend) *sight {
	for len(q.keys) > 0 {
		s := q.keys[0]
		q.keys[0] = nil
		q.keys = q.keys[1:]
		waits := q.has(b, s)
		q.let(s)
		if waits {
			return s
		}
	}
	return nil
}
