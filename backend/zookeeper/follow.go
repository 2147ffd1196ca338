package zookeeper

import (
	"context"
	"errors"
	"path"
	"slices"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/hustings-go/hustings/backend/internal/calls"
)

// outcome is what a candidate that waited has learned.
type outcome int

const (
	nothing   outcome = iota // but that the watches were set on a new connection
	mayDiffer                // there may be another node before its own, or its own may be gone
	hasLeft                  // the node before its own is gone
	hasLeftUs                // and when that went, its own was there
)

// neighbours are the candidate's own node and the one before it; and the one before that, at whose end the candidate looks whether it is
// next now. What is told of them is guarded by session.mu.
type neighbours struct {
	further, before, own ear
	next                 bool // nobody else is before it
	crowd                bool // what is before is seen only by who comes and goes
	woken                chan struct{}

	left, differ bool // the one before is gone; anything else may have changed
}

func (n *neighbours) heard(e *ear, kind zk.EventType) {
	switch {
	case kind == zk.EventSession && !n.crowd && !n.next:
		return // the end of a node is told all the same
	case kind == zk.EventSession && !n.crowd:
		// Its own node is to be seen on this connection, too.
	case kind == zk.EventNodeDeleted && !n.crowd && e == &n.before:
		n.left = true
	default:
		n.differ = true
	}
	select {
	case n.woken <- struct{}{}:
	default: // they will see, and this with it
	}
}

// told returns what n has learned, and the connection that there is.
//
// Events of one connection come in the order of transactions. So the candidate's own node was there when the one before it went if both are
// told of on the connection on which it was seen and watched last, and its end was not told. On a new connection the client
// sets its watches anew, and is told what happened in any order.
func (s *session) told(n *neighbours, seen *wire) (outcome, *wire) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case n.differ:
		return mayDiffer, s.wire
	case n.left && s.wire == seen:
		return hasLeftUs, s.wire
	case n.left:
		return hasLeft, s.wire
	default:
		return nothing, s.wire
	}
}

// follow waits until it is known that the one before has left, or the queue should be looked at again. What
// wakes it, an event or a long silence, is otherwise a hint only.
func (w *waiter) follow(ctx context.Context, at place) (outcome, error) {
	b, s := w.b, w.c.session
	n := &neighbours{next: at.second, woken: make(chan struct{}, 1)}
	n.further.who, n.before.who, n.own.who = n, n, n
	defer s.ignore(&n.further)
	defer s.ignore(&n.before)
	defer s.ignore(&n.own)
	conn := s.connection()
	there, err := b.watchNode(ctx, s, at.ahead, &n.before)
	if errors.Is(err, zk.ErrNoAuth) {
		n.crowd = true
		there, err = w.watchQueue(ctx, at.ahead, &n.before)
	}
	if err != nil || !there {
		return mayDiffer, err
	}
	if there, err := w.watchOwn(ctx, conn, &n.own); err != nil || !there {
		return mayDiffer, err
	}
	if at.further != "" && !n.crowd {
		// One that may not be read is not listened to: all that this costs is time, when the candidate is next.
		if there, err := b.watchNode(ctx, s, at.further, &n.further); !errors.Is(err, zk.ErrNoAuth) && (err != nil || !there) {
			return mayDiffer, err
		}
	}
	if n.next && !n.crowd {
		b.standBy(w.c)
		defer b.standDown(w.c)
	}
	silence := time.NewTimer(lookAfter * b.ttl)
	defer silence.Stop()
	for {
		select {
		case <-n.woken:
			learned, conn := s.told(n, w.seen)
			if learned != nothing {
				return learned, nil
			}
			if there, err := w.watchOwn(ctx, conn, &n.own); err != nil || !there {
				return mayDiffer, err
			}
		case <-silence.C:
			there, err := b.exists(ctx, s, at.ahead)
			if err != nil || !there {
				return mayDiffer, err
			}
			silence.Reset(lookAfter * b.ttl)
		case <-s.lost:
			return mayDiffer, errSessionLost
		case <-ctx.Done():
			return mayDiffer, calls.Ended(ctx)
		}
	}
}

// watchQueue has e listen to whoever comes or goes, and reports whether the node ahead is there. Candidates need not be able to
// read each other, but who cannot is not told of a node's end either: servers since 3.8.4 and 3.9.2 keep the event back.
func (w *waiter) watchQueue(ctx context.Context, ahead string, e *ear) (there bool, _ error) {
	names, err := w.b.watchChildren(ctx, w.c.session, w.b.parent(w.c.key), e)
	return slices.Contains(names, path.Base(ahead)), err
}

// watchOwn has e listen to the candidate's own node, and reports whether that is there, which it was seen to be on conn,
// the connection before the request, unless that has made room for another since.
func (w *waiter) watchOwn(ctx context.Context, conn *wire, e *ear) (there bool, err error) {
	watch := w.b.watchNodeAnew
	if w.seen == conn {
		watch = w.b.watchNode
	}
	there, err = watch(ctx, w.c.session, w.c.path, e)
	if err == nil && there {
		w.seen = conn
	}
	return there, err
}
