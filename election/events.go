package election

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hustings-go/hustings/backend"
)

// State is where a candidate stands.
type State uint8

const (
	// StateIdle is an election for which nothing has been asked yet.
	StateIdle State = iota
	// StateCampaigning is a candidate that stands, or will as soon as the work of its last term has
	// returned.
	StateCampaigning
	// StateLeader is a candidate that leads.
	StateLeader
	// StateResigned is a candidate that stepped down by its own wish: for good, or to stand again after
	// a pause.
	StateResigned
	// StateErrored is a candidate in trouble: it will try again by itself, unless Event.RetryIn is 0.
	StateErrored
)

// String returns idle, campaigning, leader, resigned or errored.
func (s State) String() string {
	switch s {
	case StateIdle:
		return "idle"
	case StateCampaigning:
		return "campaigning"
	case StateLeader:
		return "leader"
	case StateResigned:
		return "resigned"
	case StateErrored:
		return "errored"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Why a term, a context or a call ended; errors.Is finds them in Event.Err and in context.Cause.
var (
	// ErrLost says that the store gave the key away, or that it was deleted.
	ErrLost = backend.ErrLost
	// ErrExpired says that the term could not be renewed in time.
	ErrExpired = errors.New("election: the term was not renewed in time")
	// ErrResigned says that the candidate stepped down by its own wish.
	ErrResigned = errors.New("election: resigned")
	// ErrRunning says that a campaign of this Election is running already.
	ErrRunning = errors.New("election: a campaign is running already")
	// ErrNotLeading says that there is no term to speak of.
	ErrNotLeading = errors.New("election: not leading")
	// ErrSuperseded ends the context of an event when a newer one is published.
	ErrSuperseded = errors.New("election: a newer event was published")
)

// Leader is who leads. The zero Leader means that nobody does.
type Leader[T any] struct {
	// Value is what the leader announced.
	Value T
	// Token is the fencing token of its term, 0 when nobody leads.
	Token uint64
	// Err tells why Value is the zero T although somebody leads: what stands in the store is no T. Its text is
	// short and printable, whoever wrote the value; the decoder's own error, which may quote all of it, is found
	// by errors.As.
	Err error
}

// Vacant reports whether nobody leads.
func (l Leader[T]) Vacant() bool { return l.Token == 0 }

// Event is one change in an election, as a candidate or a listener sees it.
type Event[T any] struct {
	// State is where the candidate stands now, Previous the state that this loop last saw.
	State, Previous State
	// Leader is who leads, as far as is known.
	Leader Leader[T]
	// Term is this candidate's own term; nil but in StateLeader events.
	Term *Term
	// Err is why: the failure, or the cause that ended the last term.
	Err error
	// RetryIn is when the next try is due, in StateErrored events; 0 when there will be none.
	RetryIn time.Duration
	// At is when it happened, by this machine's wall clock.
	At time.Time

	ctx context.Context //nolint:containedctx // an event is the occasion for work, and says when that is out of date
}

// Context returns a context for work that is up to date only as long as the event is: it ends when a
// newer event is published, or the loop is left, with the cause. That of a StateLeader event ends when
// the term is told to stop, and carries the term (see TermFrom). It is never nil.
func (ev Event[T]) Context() context.Context {
	if ev.ctx == nil {
		return context.Background() //nolint:forbidigo // of an idle election's snapshot, which nothing outdates
	}
	return ev.ctx
}

// record is an event as it waits for its listeners, the same for all of them.
type record struct {
	state   State
	leader  leader
	term    *Term // that begins with it
	ends    *Term // that it tells the end of
	err     error
	retryIn time.Duration
	at      time.Time
	ctx     context.Context //nolint:containedctx // handed on in the Event
	cancel  context.CancelCauseFunc
}

// spent reports whether r announces a term that is over, or was told to stop.
func (r record) spent() bool {
	return r.state == StateLeader && (r.term.ctx.Err() != nil || r.term.dead())
}
