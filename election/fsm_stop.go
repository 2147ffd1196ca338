package election

import (
	"errors"
	"time"
)

// How the machine steps down: a term is told to stop, its work is awaited, the key is given up, and what was
// wanted next follows.

// stepDown tells the term's work to stop, with the cause, and waits for it.
func (m *machine) stepDown(now instant, then sequel, cause error, retryIn time.Duration) {
	m.phase, m.then = phaseDraining, then
	m.leader = m.heir
	m.softAt.set = false
	m.drainAt = in(now, m.rules.drainLimit)
	m.emit(effect{kind: effectCancel, term: m.term, err: cause})
	m.answerAll(&m.proclaims, ErrNotLeading)
	m.publish(now, notice{ends: m.term, err: cause, retryIn: retryIn})
	m.emit(effect{kind: effectAwait, term: m.term})
}

// end makes the term over for good. What it allowed, it allows no more, whatever the clocks say.
func (m *machine) end(why error) {
	if m.term == 0 || m.over {
		return
	}
	m.over, m.frozen = true, true
	m.wait = 0
	m.hardAt.set, m.renewAt.set, m.waitAt.set = false, false, false
	m.emit(effect{kind: effectOver, term: m.term})
	m.answerAll(&m.confirms, why)
}

func (m *machine) lose(now instant, err error) {
	m.gone = true
	cause := because(ErrLost, err)
	m.end(cause)
	m.stepDown(now, thenCampaign, cause, 0)
}

func (m *machine) loseAgain(err error) {
	m.gone = true
	m.end(because(ErrLost, err))
}

func (m *machine) expire(now instant, f fact) {
	if f.kind == factExpired {
		m.end(ErrExpired)
	}
	cause := because(ErrExpired, m.trouble)
	pause := m.backOff(now, cause)
	m.stepDown(now, m.then, cause, pause)
}

// aside notes what is to follow when the caller asked to resign or to leave.
func (m *machine) aside(f fact) {
	if f.kind == factResignAsked {
		m.then = thenPause
		return
	}
	m.then, m.final = thenEnd, f.err
	m.once = f.n == 1
}

func (m *machine) leaveNext(now instant, f fact) {
	if m.then == thenEnd {
		m.once = m.once || f.n == 1
		return
	}
	m.aside(f)
	if m.state() != m.last {
		m.publish(now, notice{err: f.err})
	}
}

func (m *machine) shutLater(now instant, err error) {
	if m.then == thenEnd {
		return
	}
	m.then, m.broken, m.final = thenEnd, true, err
	m.publish(now, notice{err: err})
}

// giveUp ends a late win that is still to be confirmed.
func (m *machine) giveUp(now instant, f fact) {
	if f.kind == factSoftDue {
		m.tooLate(now, because(ErrExpired, m.trouble))
		return
	}
	m.aside(f)
	m.beginRelease(now)
	m.publish(now, notice{err: f.err})
}

// beginRelease gives up the key, as soon as no other call is under way.
func (m *machine) beginRelease(now instant) {
	m.phase = phaseReleasing
	m.end(ErrNotLeading)
	m.softAt.set, m.drainAt.set = false, false
	m.releaseBy = in(now, m.rules.release)
	if m.call != 0 {
		m.emit(effect{kind: effectAbort})
		return
	}
	m.giveBack(now)
}

// settle takes the answer of the last call that was under way when the work had returned.
func (m *machine) settle(now instant, f fact) {
	m.call = 0
	m.answerAll(&m.asking, errors.Join(ErrNotLeading, f.err))
	if f.kind == factProclaimed {
		m.answerProclaim(f.err)
	}
	if f.class == classLost {
		m.gone = true
	}
	m.giveBack(now)
}

func (m *machine) giveBack(now instant) {
	if m.gone {
		m.proceed(now)
		return
	}
	m.call = m.next()
	m.emit(effect{kind: effectRelease, seq: m.call, term: m.term, bound: m.rules.release / releaseTries})
}

func (m *machine) released(now instant, f fact) {
	m.call = 0
	if f.err == nil || f.class == classLost {
		m.unreleased = nil
		m.proceed(now)
		return
	}
	pause := clip(m.renew.NextBackOff(), m.rules.release/(2*releaseTries))
	if m.once || f.class == classPermanent || m.releaseBy.left(now) <= pause {
		m.unreleased = f.err
		m.report("the key could not be given up; it expires within its TTL", f.err)
		m.proceed(now)
		return
	}
	m.retryAt = in(now, pause)
}

// proceed goes on when nothing is held any more and no call is under way.
func (m *machine) proceed(now instant) {
	m.term, m.token = 0, 0
	switch m.then {
	case thenCampaign:
		m.stand(now)
	case thenBackOff:
		if m.standBy.due(now) {
			m.stand(now)
			return
		}
		m.phase = phaseBackingOff
		m.retryAt = m.standBy
	case thenPause:
		m.phase = phasePausing
		m.retryAt = in(now, m.rules.pause)
	case thenEnd:
		m.finish(now, false)
	}
}

func (m *machine) fail(now instant, f fact) {
	m.call = 0
	err := f.err
	if now.Since(m.stood) >= m.rules.ttl {
		m.denied = denials{} // it stood for that long, and so was allowed to
	}
	if f.class == classPermanent || f.class == classClosed || f.class == classDenied && m.denied.final(now, m.rules.ttl) {
		m.mendless = err
	}
	pause := m.backOff(now, err)
	if m.then == thenEnd {
		m.finish(now, true)
		return
	}
	m.phase = phaseBackingOff
	m.retryAt = m.standBy
	m.publish(now, notice{err: err, retryIn: pause})
}

// backOff decides what follows a failure: another try after a pause, which it returns, or the end.
func (m *machine) backOff(now instant, err error) time.Duration {
	pause := m.retry.NextBackOff()
	if m.mendless != nil || pause < 0 {
		m.then, m.broken, m.final = thenEnd, true, err
		return 0
	}
	m.then = thenBackOff
	m.standBy = in(now, pause)
	return pause
}

func (m *machine) finish(now instant, announce bool) {
	m.phase = phaseEnded
	m.retryAt.set = false
	if announce || m.state() != m.last {
		m.publish(now, notice{err: m.final})
	}
	m.listeners = 0
	m.attend(now)
	err := m.final
	if m.unreleased != nil {
		err = errors.Join(err, m.unreleased)
	}
	m.emit(effect{kind: effectFinish, err: err})
}
