package election

import (
	"errors"
	"fmt"
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
		m.confirm(f)
	case refuse:
		m.answer(caller{id: f.id}, ErrNotLeading)
	}
}

// stand begins a candidacy.
func (m *machine) stand(now instant) {
	m.phase, m.then = phaseCampaigning, thenCampaign
	m.retryAt.set, m.mendless = false, nil // the candidacy will tell
	m.attend(now)
	m.call, m.stood = m.next(), now
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
	m.denied = denials{}
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
	// If the plan ends the term, this ends the campaign with it. What an earlier renewal said is mended.
	m.mendless = err
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
