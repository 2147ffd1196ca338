package election

import (
	"errors"
	"fmt"
	"time"
)

// The machine's calls to the store: which comes next, what its answer means, how long until another
// try. At most one of Campaign, Renew, Proclaim and Resign is under way at a time.

const (
	releaseTries = 3  // that fit into the time for a release when each of them hangs
	renewPauses  = 28 // of soft; with attempts of a seventh, two pauses and three attempts fit before it
	minPause     = time.Millisecond
)

// pump starts the call that is next, if none is under way.
func (m *machine) pump() {
	if m.call != 0 || !m.held() {
		return
	}
	switch {
	case m.frozen:
		m.answerAll(&m.confirms, ErrExpired)
	case m.wanted || len(m.confirms) > 0:
		m.call = m.next()
		m.asking, m.confirms = m.confirms, nil
		m.wanted, m.asked = false, m.highest
		m.emit(effect{kind: effectRenew, seq: m.call, term: m.term, bound: m.plan.attempt})
	case len(m.proclaims) > 0:
		m.call = m.next()
		m.asker, m.proclaims = m.proclaims[0], m.proclaims[1:]
		m.emit(effect{kind: effectProclaim, seq: m.call, term: m.term, value: m.asker.value, bound: m.plan.attempt})
	}
}

// confirm has the store asked, unless it has nothing to say any more: under work that drains, the term may be over.
func (m *machine) confirm(f fact) {
	switch {
	case m.gone:
		m.answer(caller{id: f.id}, ErrLost)
	case m.over:
		m.answer(caller{id: f.id}, ErrExpired)
	default:
		m.confirms = append(m.confirms, caller{id: f.id})
		m.pump()
	}
}

// doubt asks the store at once whether the term stands.
func (m *machine) doubt() {
	m.wanted = true
	m.pump()
}

func (m *machine) pauseToRenew() time.Duration {
	return clip(m.renew.NextBackOff(), max(m.plan.soft/renewPauses, minPause))
}

// clip bounds a pause, also one that a policy ended: while a lease is held, its deadline is the only
// limit to the number of tries.
func clip(pause, limit time.Duration) time.Duration {
	if pause < 0 {
		return limit
	}
	return min(pause, limit)
}

// told takes the answer to Proclaim.
func (m *machine) told(now instant, f fact) {
	m.call = 0
	m.answerProclaim(f.err)
	if f.err == nil && m.phase == phaseLeading {
		m.leader.Value = m.value
		m.emit(effect{kind: effectAmend, term: m.term, value: m.value})
	}
	switch {
	case f.class != classLost:
		m.pump()
	case m.phase == phaseLeading:
		m.lose(now, f.err)
	default:
		m.loseAgain(f.err)
	}
}

func (m *machine) answerProclaim(err error) {
	if err == nil {
		m.value = m.asker.value // later terms announce it too
	}
	m.answer(m.asker, err)
	m.asker = caller{}
}

func (m *machine) answer(c caller, err error) {
	m.emit(effect{kind: effectAnswer, id: c.id, err: err})
}

func (m *machine) answerAll(list *[]caller, err error) {
	for _, c := range *list {
		m.answer(c, err)
	}
	*list = nil
}

// attend observes who leads while somebody listens, and not otherwise.
func (m *machine) attend(now instant) {
	switch {
	case m.listeners > 0 && m.observing == 0 && !m.observeAt.set:
		m.observing, m.here = m.next(), 0
		m.emit(effect{kind: effectObserve, seq: m.observing})
	case m.listeners == 0:
		if m.observing != 0 {
			m.emit(effect{kind: effectObserveStop, seq: m.observing})
		}
		m.observing, m.observeAt.set, m.answered = 0, false, false
		if m.phase != phaseLeading {
			m.leader = leader{}
		}
		if m.withheld {
			m.publish(now, notice{})
		}
	}
}

// observed remembers who leads, and reports whether that is news. Tokens never go back: a record that
// was seen to be over, our own last one among them, is not believed again. A vacancy ends what the same
// observation has told before it, and not what an earlier one has: another server may be behind.
func (m *machine) observed(l leader) bool {
	m.answered = true
	m.follow.Reset()
	m.here = max(m.here, l.Token)
	switch {
	case l.Token == 0:
		news := m.leader.Token != 0
		m.leader, m.past = leader{}, max(m.past, m.here)
		return news
	case l.Token >= m.highest && l.Token > m.past:
		news := l.Token != m.leader.Token || string(l.Value) != string(m.leader.Value)
		m.leader, m.highest = l, l.Token
		return news
	default:
		return false
	}
}

// rival notes a term above our own. Watches are hints: the store is asked, and tells whether we lead.
func (m *machine) rival(l leader) {
	m.answered = true
	m.follow.Reset()
	m.here = max(m.here, l.Token)
	if l.Token <= m.token {
		m.heir = leader{}
		return
	}
	m.heir, m.highest = l, max(m.highest, l.Token)
	m.doubt()
}

func (m *machine) unobserved(now instant, err error) {
	m.observing, m.answered = 0, false
	if m.listeners > 0 {
		m.observeAt = in(now, m.pauseToFollow())
	}
	m.report("who leads cannot be observed just now", err)
}

func (m *machine) pauseToFollow() time.Duration { return clip(m.follow.NextBackOff(), maxPause) }

// remark keeps what lead returned after its term was told to stop: it is what Run ends with, or the
// reason in the next event.
func (m *machine) remark(err error) {
	switch {
	case err == nil:
	case m.then == thenEnd && !m.broken:
		m.final = err
	default:
		m.reason = errors.Join(m.reason, err)
	}
}

// because names why, with the trouble that led to it.
func because(why, trouble error) error {
	switch {
	case trouble == nil:
		return why
	case errors.Is(trouble, why):
		return trouble
	default:
		return fmt.Errorf("%w: %w", why, trouble)
	}
}
