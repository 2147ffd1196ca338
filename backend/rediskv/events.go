package rediskv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// line is the one connection on which all that wait, lead or observe hear of events. It is there while
// somebody listens: one goroutine asks Redis for channels, another reads what comes. When it breaks, all
// who listen are told, and it is not mended: the next to listen make another.
type line struct {
	b      *Backend
	cancel context.CancelFunc
	kick   chan struct{} // there are channels to ask for, or to give up

	// The rest is guarded by Backend.mu.

	topics map[string]*topic
	asked  []*order // what was sent and is not answered yet
	heard  bool     // something, since the last look
	ears   int
	dead   bool          // it broke, and all were told
	over   bool          // its goroutines have ended
	done   chan struct{} // closed then
}

// order is one command on a line: it asks for channels or gives them up, which Redis confirms one by one, or refuses all
// together. Without channels it asks for a sign of life.
type order struct {
	on     bool
	topics []*topic // those that are still to be confirmed
}

// topic is one channel on a line.
type topic struct {
	name    string
	ears    []*ear
	on      bool  // it was asked for last, and not given up
	alone   bool  // it was refused together with others, and is to be asked for by itself
	pending int   // orders for it that are not answered
	ready   bool  // Redis has confirmed the latest of them: events are heard from then on
	err     error // why nothing more will come
}

// ear is one listener on one topic. Both functions are called with Backend.mu held, so that they must not block.
type ear struct {
	l    *line
	t    *topic
	hear func(event)
	call func() // the topic is ready, or nothing more will come: see state
}

// tune makes a listener to the events of key, and the line if there is none. Each tune is followed by one leave. b.mu must
// be held.
func (b *Backend) tune(ctx context.Context, key string, hear func(event), call func()) *ear {
	l := b.line
	if l == nil {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		l = &line{b: b, cancel: cancel, kick: make(chan struct{}, 1), topics: make(map[string]*topic), done: make(chan struct{})}
		b.line = l
		go l.live(ctx)
	}
	name := channel(key)
	t := l.topics[name]
	if t == nil {
		t = &topic{name: name}
		l.topics[name] = t
	} else if !t.on {
		t.ready = false // it was given up; what was confirmed then does not count
	}
	e := &ear{l: l, t: t, hear: hear, call: call}
	t.ears = append(t.ears, e)
	l.ears++
	l.wake()
	return e
}

// state tells whether events are heard from now on, or why nothing more will come. b.mu must be held.
func (e *ear) state() (ready bool, _ error) { return e.t.ready, e.t.err }

// leave ends the listening. The last to leave a line ends it.
func (e *ear) leave() {
	b, l := e.l.b, e.l
	b.mu.Lock()
	e.t.ears = slices.DeleteFunc(e.t.ears, func(other *ear) bool { return other == e })
	l.ears--
	last := l.ears == 0
	if last && b.line == l {
		b.line = nil
	}
	if last && !l.over {
		b.running[l.done] = struct{}{} // not before, as an Observe may be left standing for long
	}
	b.mu.Unlock()
	if last {
		l.cancel()
	} else {
		l.wake()
	}
}

func (l *line) wake() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// live is the life of the line.
func (l *line) live(ctx context.Context) {
	l.run(ctx)
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.over = true
	delete(l.b.running, l.done)
	close(l.done)
}

// run asks for channels and gives them up, until nobody listens or the connection breaks. After a TTL in
// which nothing was heard it asks whether the connection lives, because one that went dead without a word
// looks just like one on which there is nothing to tell.
func (l *line) run(ctx context.Context) {
	connection := l.b.client.Subscribe(ctx) // to nothing yet: nothing is sent
	var reading sync.WaitGroup
	defer reading.Wait()
	defer connection.Close() //nolint:errcheck // it ends the reading, whatever it says
	defer l.cancel()
	silence := time.NewTimer(l.b.ttl)
	defer silence.Stop()
	for begun := false; ; {
		if err := l.arrange(ctx, connection); err != nil {
			l.fail(err)
			return
		}
		if !begun {
			begun = true
			reading.Go(func() { l.read(ctx, connection) })
		}
		select {
		case <-l.kick:
		case <-silence.C:
			next, err := l.probe(ctx, connection)
			if err != nil {
				l.fail(err)
				return
			}
			silence.Reset(next)
		case <-ctx.Done():
			return
		}
	}
}

// arrange brings what Redis sends in line with who listens.
func (l *line) arrange(ctx context.Context, connection *redis.PubSub) error {
	ctx, cancel := context.WithTimeout(ctx, l.b.bound)
	defer cancel()
	for {
		names, on := l.due()
		var err error
		switch {
		case len(names) == 0:
			return nil
		case on:
			err = connection.Subscribe(ctx, names...)
		default:
			err = connection.Unsubscribe(ctx, names...)
		}
		if err != nil {
			return err
		}
	}
}

// due returns channels that must be asked for (on) or given up, by one command, and notes that this was done.
func (l *line) due() (names []string, on bool) {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	var o *order
	for name, t := range l.topics {
		wanted := len(t.ears) > 0
		switch {
		case wanted == t.on:
			continue
		case o == nil:
			o = &order{on: wanted}
		case t.alone || wanted != o.on:
			continue
		}
		t.on = wanted
		t.pending++
		names, o.topics = append(names, name), append(o.topics, t)
		if t.alone {
			break
		}
	}
	if o == nil {
		return nil, false
	}
	l.asked = append(l.asked, o)
	return names, o.on
}

// probe asks for a sign of life where there was none, and returns when to look again.
func (l *line) probe(ctx context.Context, connection *redis.PubSub) (next time.Duration, _ error) {
	l.b.mu.Lock()
	heard, waiting := l.heard, len(l.asked) > 0
	l.heard = false
	if !heard && !waiting {
		l.asked = append(l.asked, &order{})
	}
	l.b.mu.Unlock()
	switch {
	case heard:
		return l.b.ttl, nil
	case waiting:
		return 0, errSilent
	}
	ctx, cancel := context.WithTimeout(ctx, l.b.bound)
	defer cancel()
	return l.b.bound, connection.Ping(ctx)
}

// read takes what Redis sends until the connection breaks.
func (l *line) read(ctx context.Context, connection *redis.PubSub) {
	for {
		message, err := connection.Receive(ctx)
		var reply redis.Error
		switch {
		case errors.As(err, &reply):
			l.answered(err)
		case err != nil:
			l.fail(err)
			return
		}
		switch m := message.(type) {
		case *redis.Subscription, *redis.Pong:
			l.answered(nil)
		case *redis.Message:
			l.deliver(m)
		}
	}
}

// answered takes an answer to the oldest order: Redis answers in order.
func (l *line) answered(err error) {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.heard = true
	if len(l.asked) == 0 {
		return
	}
	o := l.asked[0]
	topics := o.topics
	if err == nil && len(topics) > 1 {
		topics, o.topics = topics[:1], topics[1:] // and more confirmations are to come
	} else {
		l.asked = l.asked[1:]
	}
	for _, t := range topics {
		t.pending--
		switch {
		case l.topics[t.name] != t: // it has failed
		case err != nil && len(topics) > 1:
			t.alone = true // as it may be another's fault
			switch {
			case t.pending > 0:
			case o.on && len(t.ears) == 0:
				delete(l.topics, t.name)
			default:
				t.on = !o.on
				l.wake()
			}
		case err != nil:
			delete(l.topics, t.name) // who asks next tries anew
			t.fail(err)
		case t.pending > 0:
		case t.on && !t.ready:
			t.ready = true
			t.call()
		case !t.on && len(t.ears) == 0:
			delete(l.topics, t.name)
		}
	}
}

func (l *line) deliver(m *redis.Message) {
	ev := parseEvent(m.Payload)
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.heard = true
	t := l.topics[m.Channel]
	if t == nil || !t.ready {
		return // who listens looks as soon as it is ready
	}
	for _, e := range t.ears {
		e.hear(ev)
	}
}

// fail tells all who listen that nothing more will come.
func (l *line) fail(err error) {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if l.b.line == l {
		l.b.line = nil
	}
	if l.dead {
		return
	}
	l.dead = true
	for _, t := range l.topics {
		t.fail(fmt.Errorf("listening to events: %w", err))
	}
	l.cancel()
}

// fail ends a topic. b.mu must be held.
func (t *topic) fail(err error) {
	t.err = err
	t.call()
}

func (t *topic) call() {
	for _, e := range t.ears {
		e.call()
	}
}
