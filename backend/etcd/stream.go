package etcd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// watches is what the elections of a Backend watch: all of it on one stream of the client's connection. The client's own
// Watch has a goroutine and a queue for each key, which is most of what an election at rest would cost.
type watches struct {
	client *clientv3.Client
	bound  time.Duration // of a connection, and of the answer to each new watch

	// mu guards everything below, and what changes in lines, streams and watches. It is held across no call but
	// watch.call.
	mu     sync.Mutex
	lastID int64
	line   *line // what new watches join; nil while there are none
}

// subject is what can be watched.
type subject struct {
	key, end string // a key, or all from it up to end
	removals bool   // and nothing else
}

// removal is that of one record, and removals is those of two, with what lies between them. What one watch tells is in the
// order in which it happened, and what happened at one revision is told together.
func removal(path string) subject { return subject{key: path, removals: true} }

func removals(one, other string) subject {
	return subject{key: min(one, other), end: max(one, other) + "\x00", removals: true}
}

// everything is all that happens to keys that begin with prefix.
func everything(prefix string) subject {
	return subject{key: prefix, end: clientv3.GetPrefixRangeEnd(prefix)}
}

// watch is something that is watched. What it heard of waits in it until it is taken.
type watch struct {
	subject
	call func() // tells, without blocking, that there is something to take

	line   *line
	apart  *apart // instead of a line
	wanted int64  // the id that was asked for on the open stream
	id     int64  // the id on the open stream; 0 until the server has named it
	next   int64  // the revision to go on from
	events []*mvccpb.Event
	err    error // the end of it
}

// line keeps a stream open for as long as anything is watched on it, with two goroutines, one that sends and one that
// receives. When a stream breaks that had worked, another is opened, and each watch goes on after the last revision that
// it heard of; if that fails, all of them end.
type line struct {
	ws     *watches
	ctx    context.Context //nolint:containedctx // the client's, until nothing is watched any more
	cancel context.CancelFunc
	all    map[*watch]struct{}
	wishes []*watch      // to be asked for
	stream *stream       // the open one, or nil
	wake   chan struct{} // of capacity 1: there is something to send
	done   chan struct{} // closed when the goroutines have ended
}

// stream is one stream of a line while it is open.
type stream struct {
	line    *line
	remote  etcdserverpb.Watch_WatchClient
	overdue *time.Timer // ends the stream; it rests while no answer is due

	asked []*watch // not answered yet, in the order of the questions, which is that of the answers
	byID  map[int64]*watch
	left  []int64 // ids to be cancelled
	// swift: the server takes the ids that are asked for, as etcd does, and is then asked without waiting. A proxy
	// (etcd grpc-proxy) makes up its own, and may answer in another order.
	swift bool
}

var (
	errStreamEnded = errors.New("the watch ended without a reason")
	errStaleToken  = errors.New("the watches' login is out of date")
)

// open begins to watch from revision next on. It does not block. Each open is followed by one close.
func (ws *watches) open(s subject, next int64, call func()) *watch {
	w := &watch{subject: s, next: next, call: call}
	if ws.foreign() {
		ws.openApart(w)
		return w
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	l := ws.line
	if l == nil {
		l = &line{ws: ws, all: make(map[*watch]struct{}), wake: make(chan struct{}, 1), done: make(chan struct{})}
		l.ctx, l.cancel = context.WithCancel(ws.client.Ctx())
		ws.line = l
		go l.run()
	}
	w.line = l
	l.all[w] = struct{}{}
	l.wishes = append(l.wishes, w)
	l.rouse()
	return w
}

// take returns what w heard of since the last take, and the error that it ended with, if it has.
func (ws *watches) take(w *watch) (events []*mvccpb.Event, _ error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	events, w.events = w.events, nil
	return events, w.err
}

// pass has w call somebody else from now on.
func (ws *watches) pass(w *watch, call func()) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w.call = call
}

// close ends w: it is not called any more. With the last one, it sees the stream end.
func (ws *watches) close(w *watch) {
	if ended := ws.leave(w); ended != nil {
		<-ended
	}
}

// leave is close, and does not wait for the end of the stream: with the last watch, it returns what is closed then.
func (ws *watches) leave(w *watch) (ended <-chan struct{}) {
	if w.apart != nil {
		w.apart.cancel(nil)
		return w.apart.done
	}
	ws.mu.Lock()
	l := w.line
	if _, on := l.all[w]; on {
		delete(l.all, w)
		if w.id != 0 && l.stream != nil {
			delete(l.stream.byID, w.id)
			l.stream.left = append(l.stream.left, w.id)
			l.rouse()
		}
	}
	last := len(l.all) == 0
	if last && ws.line == l {
		ws.line = nil
	}
	ws.mu.Unlock()
	if !last {
		return nil
	}
	l.cancel()
	return l.done
}

func (l *line) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run keeps a stream open.
func (l *line) run() {
	defer close(l.done)
	defer l.cancel()
	for first := true; ; first = false {
		began := time.Now()
		heard, err := l.serve()
		if l.over(err, heard && (first || time.Since(began) >= l.ws.bound)) {
			return
		}
	}
}

// over takes the end of a stream, and reports whether it was the last one. Another one follows if this had worked, for
// some time unless it was the first: so what breaks each stream soon is not tried for ever.
func (l *line) over(err error, worked bool) bool {
	ws := l.ws
	ws.mu.Lock()
	defer ws.mu.Unlock()
	l.stream, l.wishes = nil, nil
	for w := range l.all {
		if worked && l.ctx.Err() == nil && !errors.Is(err, rpctypes.ErrNoLeader) {
			w.id = 0
			l.wishes = append(l.wishes, w)
		} else {
			l.end(w, err)
		}
	}
	if len(l.all) > 0 {
		return false
	}
	if ws.line == l {
		ws.line = nil
	}
	return true
}

// end ends w. ws.mu is held.
func (l *line) end(w *watch, err error) {
	delete(l.all, w)
	w.err = err
	w.call()
}

// serve opens a stream, and serves it until it breaks or nothing is watched any more. It reports whether anything was
// received.
func (l *line) serve() (heard bool, _ error) {
	ws := l.ws
	// The member must know a leader: one that is cut off from the others is to end the stream, not to fall silent.
	ctx, cancel := context.WithCancelCause(clientv3.WithRequireLeader(l.ctx))
	defer cancel(nil)
	s := &stream{line: l, byID: make(map[int64]*watch)}
	s.overdue = time.AfterFunc(ws.bound, func() { cancel(fmt.Errorf("%w to a watch within %v", errNoAnswer, ws.bound)) })
	defer s.overdue.Stop()
	// As the client's own calls are, but for a limit that it may have been given on what it receives, which it does not
	// tell: values are small.
	remote, err := etcdserverpb.NewWatchClient(ws.client.ActiveConnection()).Watch(ctx, grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		return false, reason(ctx, err)
	}
	s.remote = remote
	ws.mu.Lock()
	l.stream = s
	ws.mu.Unlock()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		s.send(ctx)
	}()
	defer func() {
		cancel(nil)
		<-sent
	}()
	for {
		resp, err := remote.Recv()
		if err != nil {
			return heard, reason(ctx, err)
		}
		heard = true
		if err := s.receive(resp); err != nil {
			return heard, err
		}
	}
}

// reason is why a stream broke.
func reason(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errNoAnswer) {
		return cause
	}
	return rpctypes.Error(err)
}

// send sends what there is to send until the stream ends.
func (s *stream) send(ctx context.Context) {
	for {
		for _, req := range s.requests() {
			if s.remote.Send(req) != nil {
				return // Recv tells why
			}
		}
		select {
		case <-s.line.wake:
		case <-ctx.Done():
			return
		}
	}
}

// requests takes what may be sent now.
func (s *stream) requests() (all []*etcdserverpb.WatchRequest) {
	l, ws := s.line, s.line.ws
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, id := range s.left {
		all = append(all, &etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CancelRequest{
			CancelRequest: &etcdserverpb.WatchCancelRequest{WatchId: id},
		}})
	}
	s.left = nil
	for len(l.wishes) > 0 && (s.swift || len(s.asked) == 0) {
		w := l.wishes[0]
		l.wishes = l.wishes[1:]
		if _, on := l.all[w]; !on {
			continue // closed meanwhile
		}
		ws.lastID++ // never one that was used before: what is late for that is nobody's
		w.wanted = ws.lastID
		all = append(all, w.create())
		if s.asked = append(s.asked, w); len(s.asked) == 1 {
			s.overdue.Reset(ws.bound)
		}
	}
	if len(s.asked) == 0 {
		s.overdue.Stop() // nothing is due
	}
	return all
}

func (w *watch) create() *etcdserverpb.WatchRequest {
	req := &etcdserverpb.WatchCreateRequest{Key: []byte(w.key), StartRevision: w.next, WatchId: w.wanted}
	if w.end != "" {
		req.RangeEnd = []byte(w.end)
	}
	if w.removals {
		req.Filters = []etcdserverpb.WatchCreateRequest_FilterType{etcdserverpb.WatchCreateRequest_NOPUT}
	}
	return &etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{CreateRequest: req}}
}

// receive sorts what the server said. An error ends the stream.
func (s *stream) receive(resp *etcdserverpb.WatchResponse) error {
	ws := s.line.ws
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if resp.Created {
		return s.answered(resp)
	}
	if w := s.byID[resp.WatchId]; w != nil {
		w.heard(resp)
		if w.err != nil {
			delete(s.byID, resp.WatchId)
		}
	}
	return nil
}

// answered takes the answer to the question that was put first of those not answered yet: one that is refused does not say
// to which it is. ws.mu is held.
func (s *stream) answered(resp *etcdserverpb.WatchResponse) error {
	if len(s.asked) == 0 {
		return nil
	}
	l, w := s.line, s.asked[0]
	s.asked = s.asked[1:]
	if len(s.asked) > 0 {
		s.overdue.Reset(l.ws.bound)
	} else {
		s.overdue.Stop()
	}
	l.rouse() // the next one may have waited for it
	_, on := l.all[w]
	switch {
	case resp.Canceled && l.ws.stale(refusal(resp.CancelReason)):
		// The token that the stream was opened with is not valid any more; another stream gets another one.
		return fmt.Errorf("%w: %w", errStaleToken, refusal(resp.CancelReason))
	case resp.Canceled:
		if on {
			l.end(w, refusal(resp.CancelReason))
		}
		return nil
	}
	s.swift = resp.WatchId == w.wanted
	if on {
		w.id, s.byID[resp.WatchId] = resp.WatchId, w
	} else {
		s.left = append(s.left, resp.WatchId) // closed meanwhile
	}
	return nil
}

// heard takes what the server said of w. ws.mu is held.
func (w *watch) heard(resp *etcdserverpb.WatchResponse) {
	if n := len(resp.Events); n > 0 {
		w.events = append(w.events, resp.Events...)
		w.next = resp.Events[n-1].Kv.ModRevision + 1
		w.call()
	}
	switch {
	case resp.CompactRevision != 0:
		w.line.end(w, rpctypes.ErrCompacted)
	case resp.Canceled:
		w.line.end(w, refusal(resp.CancelReason))
	}
}

// refusal is why the server cancelled a watch. It gives the text of the error that it would have answered a call with.
func refusal(why string) error {
	if why == "" {
		return errStreamEnded
	}
	if _, text, ok := strings.Cut(why, " desc = "); ok {
		why = text
	}
	return rpctypes.Error(status.Error(codes.FailedPrecondition, why))
}

// stale reports whether a watch was refused for the token of its stream: it has expired, is of another revision
// of the rights, or was not there when the stream was opened.
func (ws *watches) stale(err error) bool {
	return errors.Is(err, rpctypes.ErrInvalidAuthToken) || errors.Is(err, rpctypes.ErrAuthOldRevision) ||
		errors.Is(err, rpctypes.ErrUserEmpty) && ws.client.Username != ""
}
