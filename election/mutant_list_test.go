package election

import "slices"

func mutants() []mutant {
	return slices.Concat(termMutants, machineMutants, callMutants, driverMutants, memoryMutants, consulMutants, etcdMutants, fileMutants, redisMutants, zookeeperMutants)
}

// Bugs of clocks, deadlines and terms.
var termMutants = []mutant{
	{
		name: "a term counts from a monotonic clock that stops in a suspend", like: "M10", dir: "election", file: "backend/instant.go",
		old: "return max(i.running(earlier), i.wall-earlier.wall)",
		new: "return i.mono - earlier.mono",
	},
	{
		name: "the wall clock is not looked at", dir: "election", file: "backend/instant.go",
		old: "return max(i.running(earlier), i.wall-earlier.wall)", new: "return i.running(earlier)",
	},
	{
		name: "time asleep does not count", dir: "election", file: "backend/instant.go",
		old: "return i.mono - earlier.mono + max(0, i.asleep-earlier.asleep)", new: "return i.mono - earlier.mono",
	},
	{
		name: "validity is not sticky", dir: "election", file: "election/term.go",
		old: "case t.span.CompareAndSwap(s, nil):", new: "case true:",
	},
	{
		name: "clocks that parted do not matter", dir: "election", file: "election/term.go",
		old: "return now.Skew(s.sent) <= s.skew", new: "return true",
	},
	{
		name: "a renewal revives a term that is over", dir: "election", file: "election/term.go",
		old: "if s == nil || t.span.CompareAndSwap(s, next) {", new: "if t.span.CompareAndSwap(s, next) {",
	},
	{
		name: "no margin", dir: "election", file: "election/plan.go",
		old: "hard := ttl - margin", new: "hard := ttl",
	},
	{
		name: "no least margin", dir: "election", file: "election/plan.go",
		old: "margin := max(ttl/marginPart, min(minMargin, ttl/marginAtMost))", new: "margin := ttl / marginPart",
	},
	{
		name: "work is told to stop at the deadline itself", dir: "election", file: "election/plan.go",
		old: "soft := hard - drain", new: "soft := hard - drain/1000",
	},
	{
		name: "the renewal leaves time for one attempt", dir: "election", file: "election/plan.go",
		old: "renew:   soft / renewPart,", new: "renew:   soft * 9 / 10,",
	},
	{
		name: "renewals are four times too many", dir: "election", file: "election/plan.go",
		old: "renew:   soft / renewPart,", new: "renew:   soft / 8,",
	},
	{
		name: "a renewal may hang until the deadline", dir: "election", file: "election/plan.go",
		old: "attempt: soft / attemptPart,", new: "attempt: soft,",
	},
	{
		name: "the driver sleeps until the next deadline", dir: "election", file: "election/fsm.go",
		old: "next, any = m.plan.look, true", new: "next, any = time.Hour, true",
	},
	{
		name: "deadlines are looked at by the timer alone", like: "M16", dir: "election", file: "election/fsm.go",
		old: "if !ok {\n\t\t\tbreak", new: "if !ok || f.kind != factTick {\n\t\t\tbreak",
	},
	{
		name: "a term is over for the machine, and valid for its holder", dir: "election", file: "election/driver.go",
		old: "d.term.span.Store(nil)", new: "_ = d.term.span.Load()",
	},
}

// Bugs of the machine's decisions.
var machineMutants = []mutant{
	{
		name: "the key is released before the work has returned", like: "M3", dir: "election", file: "election/fsm_stop.go",
		old: "m.emit(effect{kind: effectAwait, term: m.term})", new: "m.beginRelease(now)",
	},
	{
		name: "the end is told before the context is cancelled", dir: "election", file: "election/fsm_stop.go",
		old: "m.emit(effect{kind: effectCancel, term: m.term, err: cause})\n\tm.answerAll(&m.proclaims, ErrNotLeading)\n\tm.publish(now, notice{ends: m.term, err: cause, retryIn: retryIn})",
		new: "m.answerAll(&m.proclaims, ErrNotLeading)\n\tm.publish(now, notice{ends: m.term, err: cause, retryIn: retryIn})\n\tm.emit(effect{kind: effectCancel, term: m.term, err: cause})",
	},
	{
		name: "a lost term stays valid", dir: "election", file: "election/fsm_stop.go",
		old: "cause := because(ErrLost, err)\n\tm.end(cause)", new: "cause := because(ErrLost, err)",
	},
	{
		name: "a term lost while draining stays valid", dir: "election", file: "election/fsm_stop.go",
		old: "\tm.gone = true\n\tm.end(because(ErrLost, err))\n", new: "\tm.gone = true\n",
	},
	{
		name: "the deadline of a draining term is passed over", dir: "election", file: "election/fsm_rules.go",
		old: "case overdue:\n\t\tm.end(ErrExpired)", new: "case overdue:",
	},
	{
		name: "work that never returns keeps its lease for ever", dir: "election", file: "election/fsm_rules.go",
		old: "case overrun:\n\t\tm.frozen = true", new: "case overrun:",
	},
	{
		name: "the next term is not released, because the last one was lost", dir: "election", file: "election/fsm_rules.go",
		old: "m.over, m.gone, m.frozen, m.shaken, m.wanted = false, false, false, false, false",
		new: "m.over, m.frozen, m.shaken, m.wanted = false, false, false, false",
	},
	{
		name: "a win that comes too late is announced", dir: "election", file: "election/fsm_rules.go",
		old: "case late < m.plan.soft:", new: "case late >= m.plan.soft:\n\t\tm.lead(now)\n\tcase late < m.plan.soft:",
	},
	{
		name: "a late win is announced without a second look", dir: "election", file: "election/fsm_rules.go",
		old: "case late < m.plan.renew && f.token >= m.highest:", new: "case late < m.plan.soft && f.token >= m.highest:",
	},
	{
		name: "a win below a token that was seen is announced", dir: "election", file: "election/fsm_rules.go",
		old: "case late < m.plan.renew && f.token >= m.highest:", new: "case late < m.plan.renew:",
	},
	{
		name: "a token seen while a win is confirmed does not matter", dir: "election", file: "election/fsm_rules.go",
		old: "if m.highest > m.asked {", new: "if false {",
	},
	{
		name: "a win after the wish to leave is kept", dir: "election", file: "election/fsm_rules.go",
		old: "case winLate:\n\t\tm.hold(f)\n\t\tm.beginRelease(now)", new: "case winLate:\n\t\tm.hold(f)\n\t\tm.proceed(now)",
	},
	{
		name: "a late win that is confirmed too late is announced", dir: "election", file: "election/fsm_rules.go",
		old: "if now.Since(m.grant.Sent) >= m.plan.soft {", new: "if now.Since(m.grant.Sent) >= m.plan.hard {",
	},
	{
		name: "resigning is followed by no pause", dir: "election", file: "election/fsm_stop.go",
		old: "m.phase = phasePausing\n\t\tm.retryAt = in(now, m.rules.pause)", new: "m.phase = phasePausing\n\t\tm.retryAt = in(now, 0)",
	},
	{
		name: "a wish to resign is forgotten under work that drains", dir: "election", file: "election/fsm_rules.go",
		old: "if m.then != thenEnd && m.then != thenPause {", new: "if false {",
	},
	{
		name: "a wish to resign in trouble is followed by no pause", dir: "election", file: "election/fsm_rules.go",
		old: "m.retryAt = in(now, max(m.rules.pause, m.retryAt.left(now)))", new: "m.retryAt = in(now, m.retryAt.left(now))",
	},
	{
		name: "the highest token is not kept", like: "M18", dir: "election", file: "election/fsm_calls.go",
		old: "case l.Token >= m.highest && l.Token > m.past:", new: "case true:",
	},
	{
		name: "an old vacancy ends the leader who is known", dir: "election", file: "election/fsm_calls.go",
		old: "m.leader, m.past = leader{}, max(m.past, m.here)", new: "m.leader, m.past = leader{}, m.highest",
	},
	{
		name: "an own record that is over is believed again", dir: "election", file: "election/fsm_rules.go",
		old: "m.highest, m.past = max(m.highest, m.token), max(m.past, m.token)", new: "m.highest = max(m.highest, m.token)",
	},
	{
		name: "a listener that returns is told nothing", dir: "election", file: "election/fsm_calls.go",
		old: "case l.Token >= m.highest && l.Token > m.past:", new: "case l.Token > m.highest, l.Token == m.leader.Token:",
	},
	{
		name: "what is no news is published", dir: "election", file: "election/fsm_rules.go",
		old: "if m.observed(f.leader) && m.state() == StateCampaigning", new: "if (m.observed(f.leader) || true) && m.state() == StateCampaigning",
	},
	{
		name: "an observation that failed is the last", dir: "election", file: "election/fsm_calls.go",
		old: "if m.listeners > 0 {\n\t\tm.observeAt", new: "if false {\n\t\tm.observeAt",
	},
	{
		name: "a second observation beside the first", dir: "election", file: "election/fsm_calls.go",
		old: "case m.listeners > 0 && m.observing == 0 && !m.observeAt.set:", new: "case m.listeners > 0 && !m.observeAt.set:",
	},
	{
		name: "loss is not listened for again", dir: "election", file: "election/fsm_rules.go",
		old: "m.waitAt = in(now, m.pauseToFollow())", new: "_ = now",
	},
	{
		name: "every refusal counts", dir: "election", file: "election/fsm.go",
		old: "if d.n == 0 || now.Since(d.at) >= ttl {", new: "if d.n >= 0 {",
	},
	{
		name: "refusals of long ago count", dir: "election", file: "election/fsm_stop.go",
		old: "if now.Since(m.stood) >= m.rules.ttl {", new: "if false {",
	},
	{
		name: "no refusal is final", dir: "election", file: "election/fsm.go",
		old: "return d.n >= enough", new: "return d.n > 1000*enough",
	},
	{
		name: "a candidacy that failed is the last", dir: "election", file: "election/fsm_stop.go",
		old: "m.phase = phaseBackingOff\n\tm.retryAt = m.standBy\n\tm.publish", new: "m.phase = phaseBackingOff\n\tm.publish",
	},
	{
		name: "a failure that passes ends the campaign", dir: "election", file: "election/fsm_stop.go",
		old: "if f.class == classPermanent || f.class == classClosed ||", new: "if f.class == classPassing || f.class == classPermanent || f.class == classClosed ||",
	},
	{
		name: "a renewal that failed is the last", dir: "election", file: "election/fsm_rules.go",
		old: "m.trouble = f.err\n\tm.renewAt = in(now, m.pauseToRenew())", new: "m.trouble = f.err",
	},
	{
		name: "a renewal that failed ends the term", dir: "election", file: "election/fsm_rules.go",
		old: "case f.class == classLost && m.phase == phaseLeading:", new: "case m.phase == phaseLeading:",
	},
	{
		name: "leaving does not wait for the release", dir: "election", file: "election/fsm_rules.go",
		old: "case leave:\n\t\tm.aside(f)", new: "case leave:\n\t\tm.aside(f)\n\t\tm.gone = true",
	},
	{
		name: "one release that fails is enough", dir: "election", file: "election/fsm_stop.go",
		old: "if m.once || f.class == classPermanent ||", new: "if true || m.once || f.class == classPermanent ||",
	},
	{
		name: "a panic is held up by three tries to release", dir: "election", file: "election/fsm_stop.go",
		old: "if m.once || f.class == classPermanent ||", new: "if f.class == classPermanent ||",
	},
	{
		name: "a release may hang for all the time that there is", dir: "election", file: "election/fsm_stop.go",
		old: "bound: m.rules.release / releaseTries", new: "bound: m.rules.release * releaseTries / releaseTries",
	},
	{
		name: "the end leaves an observation", dir: "election", file: "election/fsm_stop.go",
		old: "m.listeners = 0\n\tm.attend(now)", new: "m.listeners = 0",
	},
	{
		name: "a permanent error while leading is forgotten", dir: "election", file: "election/fsm_rules.go",
		old: "case f.class == classPermanent:\n\t\tm.mendless = f.err", new: "case f.class == classPermanent:",
	},
}

// Bugs of calls and their answers.
var callMutants = []mutant{
	{
		name: "callers are not answered when the term ends", dir: "election", file: "election/fsm_stop.go",
		old: "m.answerAll(&m.confirms, why)", new: "_ = why",
	},
	{
		name: "a Proclaim that failed is answered as if it had not", dir: "election", file: "election/fsm_calls.go",
		old: "m.answer(m.asker, err)", new: "m.answer(m.asker, nil)",
	},
	{
		name: "later terms announce the first value", dir: "election", file: "election/fsm_calls.go",
		old: "m.value = m.asker.value // later", new: "_ = m.asker.value // later",
	},
	{
		name: "a caller is answered twice", dir: "election", file: "election/fsm_calls.go",
		old: "\t*list = nil", new: "\t_ = list",
	},
	{
		name: "a refusal that a renewal has mended is remembered", dir: "election", file: "election/fsm_rules.go",
		old: "\tm.mendless = err\n\tm.grant", new: "\tif err != nil {\n\t\tm.mendless = err\n\t}\n\tm.grant",
	},
	{
		name: "two calls at a time", dir: "election", file: "election/fsm_calls.go",
		old: "if m.call != 0 || !m.held() {", new: "if !m.held() {",
	},
	{
		name: "the key is released beside a call under way", dir: "election", file: "election/fsm_stop.go",
		old: "m.emit(effect{kind: effectAbort})\n\t\treturn\n\t}\n\tm.giveBack(now)", new: "m.emit(effect{kind: effectAbort})\n\t}\n\tm.giveBack(now)",
	},
	{
		name: "a stale answer to a call is taken", dir: "election", file: "election/fsm.go",
		old: "return f.seq != m.call || f.seq == 0", new: "return false",
	},
	{
		name: "stale news of a term are taken", dir: "election", file: "election/fsm.go",
		old: "return f.seq != m.wait || f.seq == 0", new: "return false",
	},
	{
		name: "a win that nobody waits for is kept", dir: "election", file: "election/fsm.go",
		old: "m.emit(effect{kind: effectDiscard, term: f.seq})\n\t}\n\tout := m.out", new: "_ = f\n\t}\n\tout := m.out",
	},
	{
		name: "Confirm is answered by a renewal that was under way", dir: "election", file: "election/fsm_calls.go",
		old: "m.confirms = append(m.confirms, caller{id: f.id})",
		new: "if m.call != 0 && m.asker.id == 0 {\n\t\t\tm.asking = append(m.asking, caller{id: f.id})\n\t\t\treturn\n\t\t}\n\t\tm.confirms = append(m.confirms, caller{id: f.id})",
	},
	{
		name: "Confirm waits for an answer about a term that is over", dir: "election", file: "election/fsm_calls.go",
		old: "case m.over:\n\t\tm.answer", new: "case false:\n\t\tm.answer",
	},
	{
		name: "a broken watch raises no doubt", dir: "election", file: "election/fsm_rules.go",
		old: "m.wait = 0\n\t\tm.doubt()", new: "m.wait = 0",
	},
	{
		name: "a rival raises no doubt", dir: "election", file: "election/fsm_calls.go",
		old: "m.heir, m.highest = l, max(m.highest, l.Token)\n\tm.doubt()", new: "m.heir, m.highest = l, max(m.highest, l.Token)",
	},
	{
		name: "clocks that part raise no doubt", dir: "election", file: "election/fsm.go",
		old: "m.shaken = true\n\t\tm.renewAt = in(now, 0)", new: "m.shaken = true",
	},
	{
		name: "a value that was not taken is announced later", dir: "election", file: "election/fsm_calls.go",
		old: "if err == nil {\n\t\tm.value = m.asker.value", new: "if err != nil {\n\t\tm.value = m.asker.value",
	},
}

// Bugs of the driver and of the way that events take.
var driverMutants = []mutant{
	{
		name: "the work is not awaited", dir: "election", file: "election/driver.go",
		old: "if d.term.work.drain(func() { d.post(returned) }) {", new: "if d.term.work.drain(func() {}); true {",
	},
	{
		name: "the end of a term is not marked", dir: "election", file: "election/driver.go",
		old: "if n.ends != 0 {", new: "if false {",
	},
	{
		name: "a stale win is not given back", dir: "election", file: "election/driver_calls.go",
		old: "if err := lease.Resign(ctx); err != nil {\n\t\t\td.warn", new: "if err := ctx.Err(); err != nil {\n\t\t\td.warn",
	},
	{
		name: "a call that hangs is not bounded", dir: "election", file: "election/driver_calls.go",
		old: "ctx, cancel := context.WithTimeout(d.base, e.bound)", new: "ctx, cancel := context.WithCancel(d.base)",
	},
	{
		name: "the lease of a term that is over is kept in memory", dir: "election", file: "election/driver.go",
		old: "if d.m.term == 0 {\n\t\t\td.lease = nil", new: "if false {\n\t\t\td.lease = nil",
	},
	{
		name: "a clock that jumped and came back is overlooked", dir: "election", file: "election/driver.go",
		old: "if d.term != nil && d.term.dead() {", new: "if false {",
	},
	{
		name: "a Leader event that is over is seen", dir: "election", file: "election/subscription.go",
		old: "if r.spent() || s.works", new: "if s.works",
	},
	{
		name: "a loop is not told the end of its term", dir: "election", file: "election/subscription.go",
		old: "if s.seen != nil && s.over {", new: "if false {",
	},
	{
		name: "the body's work ends when its term does", dir: "election", file: "election/subscription.go",
		old: "if r.ends != nil && r.ends == s.seen {", new: "if r.ends != nil && r.ends == s.held {\n\t\ts.letGo()\n\t}\n\tif r.ends != nil && r.ends == s.seen {",
	},
	{
		name: "unread events pile up", dir: "election", file: "election/subscription.go",
		old: "if old.state == r.state {", new: "if old.state == r.state && i < 0 {",
	},
}
