package election

import (
	"errors"
	"fmt"
	"time"
)

// do carries out one rule of the table.
func (m *machine) do(r rule, now instant, f fact) {
	switch r {
	case unset, ignore, ruleCount:
	case stand:
		m.stand(now)
	case win:
		m.win(now, f)
	case winLate:
		m.hold(f)
		m.beginRelease(now)
	case discard:
		m.emit(effect{kind: effectDiscard, term: f.seq})
	case fail:
		m.fail(now, f)
	case withdrawn:
		m.call = 0
		m.proceed(now)
	case confirmed:
		m.call = 0
		m.extend(now, f)
		if now.Since(m.grant.Sent) >= m.plan.soft {
			m.tooLate(now, because(ErrExpired, m.trouble))
			return
		}
		if m.highest > m.asked { // somebody was seen to lead after us, since the store was asked
			m.doubt()
			return
		}
		m.lead(now)
	case extend:
		m.call = 0
		m.extend(now, f)
		m.pump()
	case missed:
		m.missed(now, f)
	case settle:
		m.settle(now, f)
	case lose:
		m.lose(now, f.err)
	case loseAgain:
		m.loseAgain(f.err)
	case relisten:
		m.wait = 0
		m.doubt()
		m.waitAt = in(now, m.pauseToFollow())
	case listen:
		m.listen()
	case shut:
		m.wait = 0
		m.broken, m.final = true, f.err
		m.stepDown(now, thenEnd, f.err, 0)
	case shutLater:
		m.wait = 0
		m.shutLater(now, f.err)
	case expire:
		m.expire(now, f)
	case overdue:
		m.end(ErrExpired)
	case overrun:
		m.frozen = true
		m.report("the work of an ended term has not returned; the lease is left to run out", nil)
	case giveUp:
		m.giveUp(now, f)
	case renew:
		m.wanted = true
		m.pump()
	case follow:
		if m.observed(f.leader) && m.state() == StateCampaigning || m.withheld {
			m.publish(now, notice{})
		}
	case note:
		m.observed(f.leader)
	case rival:
		m.rival(f.leader)
	case blind:
		m.unobserved(now, f.err)
		if m.withheld {
			m.publish(now, notice{err: f.err})
		}
	case reobserve:
		m.unobserved(now, f.err)
	case observe:
		m.attend(now)
	case attend:
		m.listeners = f.n
		if m.phase != phaseIdle {
			m.attend(now)
		}
	case remark:
		m.remark(f.err)
	case done:
		m.final = f.err
		m.stepDown(now, thenEnd, errors.Join(ErrResigned, f.err), 0)
	case drained:
		m.beginRelease(now)
	case released:
		m.released(now, f)
	case again:
		if m.call == 0 {
			m.giveBack(now)
		}
	case withdraw:
		m.aside(f)
		m.phase = phaseWithdrawing
		m.emit(effect{kind: effectAbort})
		m.publish(now, notice{err: f.err})
	case resign:
		m.stepDown(now, thenPause, f.err, 0)
	case resignNext:
		if m.then != thenEnd && m.then != thenPause {
			m.then = thenPause
			m.publish(now, notice{err: f.err})
		}
	case yield:
		m.phase = phasePausing
		m.retryAt = in(now, max(m.rules.pause, m.retryAt.left(now)))
		m.publish(now, notice{err: f.err})
	case leave:
		m.aside(f)
		m.stepDown(now, thenEnd, f.err, 0)
	case leaveNext:
		m.leaveNext(now, f)
	case end:
		m.aside(f)
		m.finish(now, false)
	case proclaim:
		m.proclaims = append(m.proclaims, caller{f.id, f.value})
		m.pump()
	case told:
		m.told(now, f)
	case confirm:
		m.confirms = append(m.confirms, caller{id: f.id})
		m.pump()
	case refuse:
		m.answer(caller{id: f.id}, ErrNotLeading)
	}
}

// stand begins a candidacy.
func (m *machine) stand(now instant) {
	m.phase, m.then = phaseCampaigning, thenCampaign
	m.retryAt.set = false
	m.attend(now)
	m.call = m.next()
	m.emit(effect{kind: effectCampaign, seq: m.call, value: m.value})
	// A Campaigning event waits until it is known who leads, or that it cannot be known, so that "nobody
	// leads" and "not known yet" differ.
	m.withheld = m.listeners > 0 && !m.answered
	if !m.withheld && m.last != StateCampaigning {
		m.publish(now, notice{})
	}
}

// hold takes over a lease that was won.
func (m *machine) hold(f fact) {
	m.call = 0
	m.term, m.token, m.grant = f.seq, f.token, f.grant
	m.over, m.gone, m.frozen, m.shaken, m.wanted = false, false, false, false, false
	m.heir, m.trouble, m.unreleased = leader{}, nil, nil
	m.renew.Reset()
}

func (m *machine) win(now instant, f fact) {
	m.hold(f)
	var err error
	m.plan, err = m.rules.plan(f.grant.TTL)
	switch late := now.Since(f.grant.Sent); {
	case err != nil:
		m.then, m.broken, m.final = thenEnd, true, err
		m.beginRelease(now)
		m.publish(now, notice{err: err})
	case late < m.plan.renew && f.token >= m.highest: // else somebody was seen to lead after us
		m.lead(now)
	case late < m.plan.soft:
		m.phase = phaseConfirming
		m.schedule()
		m.wanted = true
		m.pump()
	default:
		m.tooLate(now, fmt.Errorf("%w: the win was told %v after it was asked for, too late for a lease of %v", ErrExpired, late, f.grant.TTL))
	}
}

// tooLate gives back a win that was never announced.
func (m *machine) tooLate(now instant, err error) {
	pause := m.backOff(now, err)
	m.beginRelease(now)
	m.publish(now, notice{err: err, retryIn: pause})
}

// lead announces the term.
func (m *machine) lead(now instant) {
	m.phase = phaseLeading
	m.retry.Reset()
	m.follow.Reset()
	m.denied, m.mendless = denials{}, nil
	m.leader = leader{Value: m.value, Token: m.token}
	m.highest, m.past = max(m.highest, m.token), max(m.past, m.token)
	m.schedule()
	m.emit(effect{kind: effectBegin, term: m.term, token: m.token, grant: m.grant, plan: m.plan})
	m.publish(now, notice{term: m.term})
	m.listen()
}

// schedule sets the deadlines that follow from the latest grant.
func (m *machine) schedule() {
	if m.phase != phaseDraining { // which is past soft for good: a context is never revived
		m.softAt = in(m.grant.Sent, m.plan.soft)
	}
	m.hardAt = in(m.grant.Sent, m.plan.hard)
	m.renewAt = in(m.grant.Sent, m.plan.renew)
}

func (m *machine) listen() {
	if m.held() && m.wait == 0 {
		m.wait = m.next()
		m.emit(effect{kind: effectWait, seq: m.wait, term: m.term})
	}
}

func (m *machine) extend(now instant, f fact) {
	if m.over {
		m.answerAll(&m.asking, ErrExpired)
		return
	}
	p, err := m.rules.plan(f.grant.TTL)
	if err != nil {
		m.mendless = err // the plan ends the term; this ends the campaign with it
	}
	m.grant, m.plan = f.grant, p
	m.shaken, m.trouble = false, err
	m.renew.Reset()
	m.schedule()
	m.emit(effect{kind: effectInstall, term: m.term, grant: m.grant, plan: m.plan})
	if now.Since(m.grant.Sent) >= m.plan.hard {
		err = ErrExpired
	}
	m.answerAll(&m.asking, err)
}

func (m *machine) missed(now instant, f fact) {
	m.call = 0
	m.answerAll(&m.asking, f.err)
	switch {
	case f.class == classLost && m.phase == phaseLeading:
		m.lose(now, f.err)
		return
	case f.class == classLost && m.phase == phaseDraining:
		m.loseAgain(f.err)
		return
	case f.class == classLost: // won, and lost again before anybody was told
		m.gone = true
		m.beginRelease(now)
		return
	case f.class == classPermanent:
		m.mendless = f.err
	}
	m.trouble = f.err
	m.renewAt = in(now, m.pauseToRenew())
	m.pump()
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

func (m *machine) expire(now instant, f fact) {
	if f.kind == factExpired {
		m.end(ErrExpired)
	}
	cause := because(ErrExpired, m.trouble)
	pause := m.backOff(now, cause)
	m.stepDown(now, m.then, cause, pause)
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

func (m *machine) fail(now instant, f fact) {
	m.call = 0
	err := f.err
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
