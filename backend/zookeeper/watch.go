package zookeeper

import (
	"context"
	"errors"
	"slices"

	"github.com/go-zookeeper/zk"
)

// The client cannot take a watch back, and tells of all that fire in one place, the callback of the connection, before it
// tells on the channel that each has. So that callers who come and go leave no pile of watches, one that was set is kept
// until it fires, and whoever wants the same listens to it too; and since the callback is all that is needed, nobody waits
// at a channel.

// subject is what is watched.
type subject struct {
	path     string
	children bool // what stands right below it, or its creation; else its value, and its end
}

// fires reports whether an event of that kind ends the watch, as the client sees it.
func (w subject) fires(kind zk.EventType) bool {
	switch kind {
	case zk.EventNodeDataChanged:
		return !w.children
	case zk.EventNodeCreated, zk.EventNodeChildrenChanged:
		return w.children
	default: // it is deleted, or not watched any more
		return true
	}
}

// ear listens to one subject at a time, for somebody.
type ear struct {
	who listener
	at  subject // guarded by session.mu; empty: it listens to nothing
}

// listener is told when what an ear of theirs listens to may have changed: with the kind of event, or zk.EventNotWatching
// when nobody knows any more; and with zk.EventSession when the watch was set anew on another connection. They do
// not block, and take no lock of the session's.
type listener interface {
	heard(e *ear, kind zk.EventType)
}

// hear has e listen to what w is watched for, instead of what it listened to before, until that fires. It reports
// whether the watch was there; if not, it must be set now, by watch.
func (s *session) hear(w subject, e *ear) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deafen(e)
	ears, set := s.watches[w]
	s.watches[w] = append(ears, e)
	e.at = w
	return set
}

// ignore has e listen to nothing any more.
func (s *session) ignore(e *ear) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deafen(e)
}

// deafen is ignore with s.mu held.
func (s *session) deafen(e *ear) {
	if e.at == (subject{}) {
		return
	}
	ears := s.watches[e.at]
	s.watches[e.at] = slices.DeleteFunc(ears, func(other *ear) bool { return other == e })
	e.at = subject{}
}

// fire tells all who listen to w of an event, if it ends the watch.
func (s *session) fire(w subject, kind zk.EventType) {
	if w.fires(kind) {
		s.drop(w, kind, nil)
	}
}

// drop tells all who listen to w, but for one who knows, that there is no such watch any more.
func (s *session) drop(w subject, kind zk.EventType, knows *ear) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ears := s.watches[w]
	delete(s.watches, w)
	for _, e := range ears {
		e.at = subject{}
		if e != knows {
			e.who.heard(e, kind)
		}
	}
}

// mayWatch reports whether the client may have a watch: it keeps one that was to be set again, and was not, too.
func (s *session) mayWatch() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watched
}

// setAnew tells all who listen that the watches were set on a new connection. That is done as of the last transaction that the
// client knows of, which may be one that the new connection told of already, when the answer to another request came
// first (see wire.Read): then nothing tells of what happened in between.
func (s *session) setAnew() { s.alert(zk.EventSession) }

// cutOff tells all who listen that nothing was heard for long, and nothing will be: who asks now is told why.
func (s *session) cutOff() { s.alert(zk.EventNotWatching) }

func (s *session) alert(kind zk.EventType) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ears := range s.watches {
		for _, e := range ears {
			e.who.heard(e, kind)
		}
	}
}

// watch makes the request that sets the watch w, for which hear has made room for e. If it fails there is none.
func watch[T any](ctx context.Context, s *session, w subject, e *ear, request func(*zk.Conn) (T, error)) (T, error) {
	if err := s.usable(ctx); err != nil {
		s.drop(w, zk.EventNotWatching, e)
		var none T
		return none, err
	}
	return send(ctx, s, func(conn *zk.Conn) (T, error) {
		value, err := request(conn)
		if err != nil {
			s.drop(w, zk.EventNotWatching, e)
			return value, err
		}
		s.mu.Lock()
		s.watched = true
		s.mu.Unlock()
		return value, nil
	})
}

// node is a node as it was read.
type node struct {
	value []byte
	stat  *zk.Stat // nil: there is none
}

// readNode reads the node at p, and has e listen to the next change of it. There is no watch on a node that does not
// exist: it would stay for as long as the session.
func (b *Backend) readNode(ctx context.Context, s *session, p string, e *ear) (n node, err error) {
	if w := (subject{path: p}); s.hear(w, e) {
		n, err = ask(ctx, s, func(conn *zk.Conn) (node, error) {
			value, stat, err := conn.Get(p)
			return node{value, stat}, err
		})
	} else {
		n, err = watch(ctx, s, w, e, func(conn *zk.Conn) (node, error) {
			value, stat, _, err := conn.GetW(p)
			return node{value, stat}, err
		})
	}
	if errors.Is(err, zk.ErrNoNode) {
		return node{}, nil
	}
	return n, err
}

// watchNode has e listen to the next change of the node at p, and reports whether it is there, which a watch that was set
// before tells without a request.
func (b *Backend) watchNode(ctx context.Context, s *session, p string, e *ear) (there bool, _ error) {
	w := subject{path: p}
	if s.hear(w, e) {
		return true, nil
	}
	return setWatch(ctx, s, w, e)
}

// watchNodeAnew is watchNode where the watch is set in any case, so that the answer is this connection's.
func (b *Backend) watchNodeAnew(ctx context.Context, s *session, p string, e *ear) (there bool, _ error) {
	w := subject{path: p}
	s.hear(w, e)
	return setWatch(ctx, s, w, e)
}

func setWatch(ctx context.Context, s *session, w subject, e *ear) (there bool, _ error) {
	_, err := watch(ctx, s, w, e, func(conn *zk.Conn) (struct{}, error) {
		_, _, _, err := conn.GetW(w.path)
		return struct{}{}, err
	})
	if errors.Is(err, zk.ErrNoNode) {
		return false, nil
	}
	return err == nil, err
}

// watchChildren lists what stands right below the node at p, and has e listen to the next change of that, or for the node to
// be created.
func (b *Backend) watchChildren(ctx context.Context, s *session, p string, e *ear) ([]string, error) {
	w := subject{path: p, children: true}
	if s.hear(w, e) {
		names, err := ask(ctx, s, func(conn *zk.Conn) ([]string, error) {
			names, _, err := conn.Children(p)
			return names, err
		})
		if errors.Is(err, zk.ErrNoNode) {
			err = nil // the watch is for its creation, or about to fire
		}
		return names, err
	}
	return watch(ctx, s, w, e, func(conn *zk.Conn) ([]string, error) {
		names, _, _, err := conn.ChildrenW(p)
		if !errors.Is(err, zk.ErrNoNode) {
			return names, err
		}
		exists, _, _, err := conn.ExistsW(p)
		if err == nil && exists { // it was created in between
			s.fire(w, zk.EventNodeCreated)
		}
		return nil, err
	})
}
