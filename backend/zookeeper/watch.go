package zookeeper

import (
	"context"
	"errors"

	"github.com/go-zookeeper/zk"
)

// The client cannot take a watch back. So that callers who come and go leave no pile of them, a watch is
// kept until it fires, and whoever wants the same uses it too. The channel is closed after its one event:
// all who wait for it wake.

// kinds of watches, as part of their name.
const (
	ofNode     = "n"
	ofChildren = "c"
)

// live returns the watch called name, if it is there and has not fired. b.mu must be held.
func (s *session) live(name string) <-chan zk.Event {
	ch := s.watches[name]
	if ch == nil {
		return nil
	}
	select {
	case <-ch:
		delete(s.watches, name)
		return nil
	default:
		return ch
	}
}

// keep remembers a watch that was set, and forgets those that have fired.
func (s *session) keep(name string, ch <-chan zk.Event) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	for other := range s.watches {
		s.live(other)
	}
	s.watches[name] = ch
}

// node is a node as it was read, and a watch that fires with the next change of it.
type node struct {
	value   []byte
	stat    *zk.Stat // nil: there is none
	changes <-chan zk.Event
}

// readNode reads the node at p and watches it. There is no watch on a node that does not exist: it
// would stay for as long as the session.
func (b *Backend) readNode(ctx context.Context, s *session, p string) (node, error) {
	b.mu.Lock()
	watched := s.live(ofNode + p)
	b.mu.Unlock()
	n, err := ask(ctx, s, func(conn *zk.Conn) (node, error) {
		if watched != nil {
			value, stat, err := conn.Get(p)
			return node{value, stat, watched}, err
		}
		value, stat, ch, err := conn.GetW(p)
		if err == nil {
			s.keep(ofNode+p, ch)
		}
		return node{value, stat, ch}, err
	})
	if errors.Is(err, zk.ErrNoNode) {
		return node{}, nil
	}
	return n, err
}

// watchNode returns a watch that fires with the next change of the node at p, or nil when there is none.
// Candidates need not be able to read each other.
func (b *Backend) watchNode(ctx context.Context, s *session, p string) (<-chan zk.Event, error) {
	n, err := b.readNode(ctx, s, p)
	if !errors.Is(err, zk.ErrNoAuth) {
		return n.changes, err
	}
	return ask(ctx, s, func(conn *zk.Conn) (<-chan zk.Event, error) {
		exists, _, ch, err := conn.ExistsW(p)
		if err != nil || !exists {
			return nil, err
		}
		s.keep(ofNode+p, ch)
		return ch, nil
	})
}

// watchChildren lists what stands right below the node at p, and watches for the next change of that, or for the
// node to be created.
func (b *Backend) watchChildren(ctx context.Context, s *session, p string) ([]string, <-chan zk.Event, error) {
	type listing struct {
		names   []string
		changes <-chan zk.Event
	}
	b.mu.Lock()
	watched := s.live(ofChildren + p)
	b.mu.Unlock()
	l, err := ask(ctx, s, func(conn *zk.Conn) (listing, error) {
		if watched != nil {
			names, _, err := conn.Children(p)
			if errors.Is(err, zk.ErrNoNode) {
				err = nil // the watch is for its creation, or about to fire
			}
			return listing{names, watched}, err
		}
		names, _, ch, err := conn.ChildrenW(p)
		if errors.Is(err, zk.ErrNoNode) {
			var exists bool
			if exists, _, ch, err = conn.ExistsW(p); exists && err == nil {
				ch = fired() // it was created in between
			}
		}
		if err == nil {
			s.keep(ofChildren+p, ch)
		}
		return listing{names, ch}, err
	})
	return l.names, l.changes, err
}

func fired() <-chan zk.Event {
	ch := make(chan zk.Event)
	close(ch)
	return ch
}
