package election

import (
	"errors"
	"fmt"
	"time"
)

// phase is where the machine stands. Phases are finer than the states that users see, because
// between an announced state and the truth there may be work not yet ended or a call not yet returned.
type phase uint8

const (
	phaseIdle        phase = iota // nothing asked yet; left by start
	phaseCampaigning              // a Campaign call is under way
	phaseConfirming               // won, but so late, or so doubtful, that a renewal comes before the announcement
	phaseWithdrawing              // told to stop standing; the Campaign call has not returned yet
	phaseLeading                  // a term is announced, its context is live
	phaseDraining                 // the term was told to stop; its work has not returned yet
	phaseReleasing                // the work has returned; the key is being given up
	phasePausing                  // resigned, letting others go first
	phaseBackingOff               // failed, waiting for the next try
	phaseEnded                    // over for good
	phaseCount
)

// sequel is what follows when a withdrawal, a drain or a release is through.
type sequel uint8

const (
	thenCampaign sequel = iota // the store took the key away: stand again at once
	thenBackOff                // trouble: stand again when the pause is over
	thenPause                  // asked to resign: let others go first, then stand again
	thenEnd                    // asked to stop, or no use in going on
)

// factKind names what can happen to the machine: an answer of the store, a wish of the caller, or a
// deadline that has passed.
type factKind uint8

const (
	factStart         factKind = iota // the caller wants to stand
	factWon                           // Campaign returned a lease
	factFailed                        // Campaign returned an error
	factRenewed                       // Renew returned a grant
	factRenewFailed                   // Renew returned an error
	factProclaimed                    // Proclaim returned
	factReleased                      // Resign returned
	factLost                          // Wait said that the key is lost
	factWaitFailed                    // Wait can no longer tell
	factClosed                        // Wait said that the backend was closed
	factExpired                       // a clock reading of the term found it over before the machine did
	factObserved                      // Observe yielded a leader, or vacancy
	factObserveFailed                 // Observe ended with an error
	factListeners                     // somebody began or ceased to listen
	factLeadReturned                  // the function given to Run returned
	factWorkReturned                  // all work of the term has returned
	factResignAsked                   // the caller wants to step down and stand again later
	factStopAsked                     // the caller wants to leave for good
	factProclaimAsked                 // the caller has another value to announce
	factConfirmAsked                  // the caller wants the store asked
	factSoftDue                       // time to tell the work to stop
	factHardDue                       // the term is over by our own clock
	factDrainDue                      // the work outlived its limit
	factRenewDue                      // time to renew
	factRetryDue                      // the pause before the next try is over
	factWaitDue                       // time to listen for loss again
	factObserveDue                    // time to observe again
	factTick                          // a look at the clocks, nothing more
	factCount
)

// class is what kind of error a store gave. The driver classifies, the machine decides.
type class uint8

const (
	classPassing   class = iota // try again later
	classDenied                 // refused; rights may yet be granted
	classPermanent              // no retry can mend it
	classLost                   // the record is not ours any more
	classClosed                 // the backend is closed
)

// fact is something that happened, as the machine is told of it. seq is the number of the effect that
// it answers.
type fact struct {
	kind   factKind
	seq    uint64
	class  class
	err    error
	grant  grant
	token  uint64
	leader leader
	value  []byte
	id     uint64 // of the caller who waits for an answer
	n      int    // how many listen; for a stop, 1 when only one try to release is wanted
}

type effectKind uint8

const (
	effectCampaign    effectKind = iota // call Campaign
	effectAbort                         // cancel the call under way; its answer still comes
	effectRenew                         // call Renew
	effectProclaim                      // call Proclaim
	effectRelease                       // call Resign
	effectDiscard                       // resign a lease that came too late to be used
	effectWait                          // listen for loss
	effectBegin                         // create the term
	effectInstall                       // give the term its new grant
	effectCancel                        // cancel the term's context, with its cause
	effectOver                          // end the term: never valid again, loss no longer listened for
	effectAwait                         // say when the term's work has returned
	effectObserve                       // start observing
	effectObserveStop                   // stop observing
	effectPublish                       // tell the listeners
	effectAmend                         // the term's value has changed
	effectAnswer                        // answer a caller
	effectReport                        // log
	effectFinish                        // end the driver
	effectCount
)

// effect is something for the driver to do.
type effect struct {
	kind  effectKind
	seq   uint64        // its number, which the fact that answers it returns
	term  uint64        // the term that it concerns
	bound time.Duration // how long a call may take
	err   error
	grant grant
	plan  plan
	token uint64
	value []byte
	event notice
	id    uint64
	text  string
}

// notice is an event before it has a type and a listener.
type notice struct {
	state   State
	leader  leader
	term    uint64 // the term that begins with it
	ends    uint64 // the term that it tells the end of
	err     error
	retryIn time.Duration
	at      instant
}

// delays is a backoff under way; *retry.Backoff is one. A negative pause means: give up.
type delays interface {
	NextBackOff() time.Duration
	Reset()
}

// deadline is a moment, as a distance from an earlier one so that every clock has its say.
type deadline struct {
	from  instant
	after time.Duration
	set   bool
}

func in(now instant, d time.Duration) deadline { return deadline{now, d, true} }
func (d deadline) due(now instant) bool        { return d.set && now.Since(d.from) >= d.after }

func (d deadline) left(now instant) time.Duration { return d.after - now.Since(d.from) }

// caller waits for the answer to something that it asked for.
type caller struct {
	id    uint64
	value []byte
}

// machine decides everything: what the store reported and what the caller asked go in as facts, with
// now; an ordered list of effects comes out. It does no I/O, has no clock, no goroutine and no lock.
type machine struct {
	rules  rules
	retry  delays // between candidacies
	follow delays // between attempts to observe, or to listen for loss
	renew  delays // between attempts to renew

	phase  phase
	then   sequel
	last   State // the state last published
	seq    uint64
	call   uint64   // number of the call under way, 0 when there is none
	asker  caller   // who waits for the Proclaim under way
	asking []caller // who waits for the Renew under way
	value  []byte   // what to announce

	term   uint64 // number of the Campaign that won; 0 when nothing is held
	token  uint64
	grant  grant
	plan   plan
	wait   uint64 // number of the Wait under way
	over   bool   // the term was ended
	gone   bool   // nothing to release: the store took it away
	frozen bool   // no more renewals
	shaken bool   // this grant was already doubted
	wanted bool   // a renewal is due
	once   bool   // one try to release, no more

	observing uint64 // number of the Observe under way
	listeners int
	answered  bool // who leads is known: an observation has yielded, and not failed since
	withheld  bool // the Campaigning event waits for an observation, or its failure
	leader    leader
	heir      leader // who was seen to lead with a higher token than ours
	highest   uint64 // the highest token seen
	asked     uint64 // the highest token seen when the Renew under way was called
	here      uint64 // the highest token that the Observe under way has yielded
	past      uint64 // tokens up to this one are not believed again: seen to be over, or our own

	softAt, hardAt, drainAt, renewAt, retryAt, waitAt, observeAt deadline // looked at on every step
	standBy, releaseBy                                           deadline // looked at when they matter

	denied     denials
	stood      instant // since when the Campaign under way has stood
	proclaims  []caller
	confirms   []caller
	trouble    error // the last failure to renew, for the event that may follow
	mendless   error // a permanent one that nothing has mended yet: if the term expires, the campaign ends with it
	reason     error // what lead returned, for the next event
	broken     bool  // it ends errored
	final      error // what the campaign ends with
	unreleased error // what the last release failed with

	out []effect
}

func newMachine(r rules, value []byte, retry, follow, renew delays) *machine {
	return &machine{rules: r, value: value, retry: retry, follow: follow, renew: renew}
}

// step tells the machine that now is the time and that f happened. It applies every deadline that has
// passed, then f, and returns what to do, in order. The result is the caller's: a machine that rests holds
// no room for it.
func (m *machine) step(now instant, f fact) []effect {
	m.out = nil
	for {
		due, ok := m.due(now)
		if !ok {
			break
		}
		m.apply(now, fact{kind: due})
	}
	switch {
	case !m.stale(f):
		m.apply(now, f)
	case f.kind == factWon:
		m.emit(effect{kind: effectDiscard, term: f.seq})
	}
	out := m.out
	m.out = nil
	return out
}

func (m *machine) apply(now instant, f fact) {
	r := table[f.kind][m.phase]
	if r == unset {
		// Cannot be: a test walks every pair. Loud, but not fatal to the program that uses us.
		m.report("a fact without a rule", fmt.Errorf("fact %d in phase %d", f.kind, m.phase))
	}
	m.do(r, now, f)
}

// stale reports whether f answers an effect that no longer matters.
func (m *machine) stale(f fact) bool {
	switch f.kind {
	case factWon, factFailed, factRenewed, factRenewFailed, factProclaimed, factReleased:
		return f.seq != m.call || f.seq == 0
	case factLost, factWaitFailed, factClosed:
		return f.seq != m.wait || f.seq == 0
	case factObserved, factObserveFailed:
		return f.seq != m.observing || f.seq == 0
	case factExpired, factLeadReturned, factWorkReturned:
		return f.seq != m.term || f.seq == 0
	default:
		return false
	}
}

// due takes one passed deadline off the list.
func (m *machine) due(now instant) (factKind, bool) {
	if m.held() && !m.shaken && now.Skew(m.grant.Sent) > m.plan.skew {
		// A clock was set or missed a pause. Only the store can tell what is left; ask it, once a grant.
		m.shaken = true
		m.renewAt = in(now, 0)
	}
	for _, d := range []struct {
		at   *deadline
		kind factKind
	}{
		{&m.softAt, factSoftDue},
		{&m.hardAt, factHardDue},
		{&m.drainAt, factDrainDue},
		{&m.renewAt, factRenewDue},
		{&m.retryAt, factRetryDue},
		{&m.waitAt, factWaitDue},
		{&m.observeAt, factObserveDue},
	} {
		if d.at.due(now) {
			d.at.set = false
			return d.kind, true
		}
	}
	return 0, false
}

// wake returns how long the driver may sleep, and whether it has to wake by itself at all. While a
// lease is held it is never long: timers sleep with the machine.
func (m *machine) wake(now instant) (time.Duration, bool) {
	next, any := time.Duration(0), false
	if m.held() {
		next, any = m.plan.look, true
	}
	for _, d := range []deadline{m.softAt, m.hardAt, m.drainAt, m.renewAt, m.retryAt, m.waitAt, m.observeAt} {
		if d.set && (!any || d.left(now) < next) {
			next, any = d.left(now), true
		}
	}
	return max(next, 0), any
}

func (m *machine) held() bool { return m.term != 0 && !m.over }

// state is what users see of the phase.
func (m *machine) state() State {
	switch m.phase {
	case phaseIdle:
		return StateIdle
	case phaseCampaigning, phaseConfirming:
		return StateCampaigning
	case phaseLeading:
		return StateLeader
	case phasePausing:
		return StateResigned
	case phaseBackingOff:
		return StateErrored
	default: // on the way out of something: what it is on the way to
		switch m.then {
		case thenCampaign:
			return StateCampaigning
		case thenBackOff:
			return StateErrored
		case thenPause:
			return StateResigned
		default:
			if m.broken {
				return StateErrored
			}
			return StateResigned
		}
	}
}

func (m *machine) emit(e effect) { m.out = append(m.out, e) }

func (m *machine) next() uint64 {
	m.seq++
	return m.seq
}

// publish announces the present state, with err as the reason and what lead returned beside it.
func (m *machine) publish(now instant, n notice) {
	n.state, n.at, n.leader = m.state(), now, m.leader
	if m.reason != nil {
		n.err = errors.Join(n.err, m.reason)
		m.reason = nil
	}
	m.last = n.state
	m.withheld = false
	m.emit(effect{kind: effectPublish, event: n})
}

func (m *machine) report(text string, err error) {
	m.emit(effect{kind: effectReport, text: text, err: err})
}

// denials counts refusals. Rights may be granted while a candidate waits, so only three answers that
// lie at least one TTL apart each are final.
type denials struct {
	n  int
	at instant
}

func (d *denials) final(now instant, ttl time.Duration) bool {
	const enough = 3
	if d.n == 0 || now.Since(d.at) >= ttl {
		d.n++
		d.at = now
	}
	return d.n >= enough
}
