package election

// rule names what the machine does about a fact. The zero rule is no rule: a test walks the table and
// finds none.
type rule uint8

const (
	unset      rule = iota
	ignore          // nothing to do
	stand           // begin to campaign
	win             // a lease: lead, renew it first if in doubt, or give it back, by how late it came
	winLate         // a lease after the wish was withdrawn: give it back
	discard         // a lease that nobody waits for: give it back
	fail            // the candidacy failed: back off, or end
	withdrawn       // the candidate is out of the race: go on to what follows
	confirmed       // the late win still stands: lead
	extend          // a longer deadline
	missed          // a renewal failed: try again, while there is time
	settle          // the last call returned: now the key can be given up
	lose            // the store took the key away: over at once
	loseAgain       // it did so while the work was draining: nothing left to release
	relisten        // loss is no longer told: doubt the term, listen again
	listen          // listen for loss again
	shut            // the backend was closed: step down for good
	shutLater       // it was closed on the way out: do not stand again
	expire          // no renewal in time: tell the work to stop
	overdue         // the term is over by our own clock
	overrun         // the work outlived its limit: let the lease run out
	giveUp          // the late win was not confirmed in time: give it back
	renew           // ask the store for more time
	follow          // who leads has changed: tell
	note            // who leads has changed: remember
	rival           // somebody with a higher token, while we lead: ask the store
	blind           // who leads cannot be known just now: tell
	reobserve       // observing failed: try again later
	observe         // try again now
	attend          // start or stop observing, as there are listeners
	remark          // lead returned after its term was told to stop: keep what it said
	done            // lead returned: step down for good
	drained         // all work has returned: give up the key
	released        // the key is given up, or not: go on to what follows
	again           // try once more to give up the key
	withdraw        // stop standing
	resign          // step down, let others go first, stand again
	resignNext      // the same, once what is under way is through
	yield           // let others go first, then stand again
	leave           // step down for good
	leaveNext       // the same, once what is under way is through
	end             // nothing is held: over
	proclaim        // announce another value
	told            // the store took the other value, or not
	confirm         // ask the store whether the term stands
	refuse          // there is no term
	ruleCount
)

// table is the machine: what happens, for every fact in every phase.
var table = [factCount][phaseCount]rule{
	//                  Idle, Campaigning, Confirming, Withdrawing, Leading, Draining, Releasing, Pausing, BackingOff, Ended
	factStart:         {stand, ignore, ignore, ignore, ignore, ignore, ignore, ignore, ignore, ignore},
	factWon:           {discard, win, discard, winLate, discard, discard, discard, discard, discard, discard},
	factFailed:        {ignore, fail, ignore, withdrawn, ignore, ignore, ignore, ignore, ignore, ignore},
	factRenewed:       {ignore, ignore, confirmed, ignore, extend, extend, settle, ignore, ignore, ignore},
	factRenewFailed:   {ignore, ignore, missed, ignore, missed, missed, settle, ignore, ignore, ignore},
	factProclaimed:    {ignore, ignore, ignore, ignore, told, told, settle, ignore, ignore, ignore},
	factReleased:      {ignore, ignore, ignore, ignore, ignore, ignore, released, ignore, ignore, ignore},
	factLost:          {ignore, ignore, ignore, ignore, lose, loseAgain, ignore, ignore, ignore, ignore},
	factWaitFailed:    {ignore, ignore, ignore, ignore, relisten, relisten, ignore, ignore, ignore, ignore},
	factClosed:        {ignore, ignore, ignore, ignore, shut, shutLater, ignore, ignore, ignore, ignore},
	factExpired:       {ignore, ignore, ignore, ignore, expire, overdue, ignore, ignore, ignore, ignore},
	factObserved:      {ignore, follow, follow, follow, rival, follow, follow, note, note, ignore},
	factObserveFailed: {ignore, blind, blind, reobserve, reobserve, reobserve, reobserve, reobserve, reobserve, ignore},
	factListeners:     {attend, attend, attend, attend, attend, attend, attend, attend, attend, ignore},
	factLeadReturned:  {ignore, ignore, ignore, ignore, done, remark, ignore, ignore, ignore, ignore},
	factWorkReturned:  {ignore, ignore, ignore, ignore, ignore, drained, ignore, ignore, ignore, ignore},
	factResignAsked:   {ignore, withdraw, giveUp, ignore, resign, resignNext, resignNext, ignore, yield, ignore},
	factStopAsked:     {end, withdraw, giveUp, leaveNext, leave, leaveNext, leaveNext, end, end, ignore},
	factProclaimAsked: {refuse, refuse, refuse, refuse, proclaim, refuse, refuse, refuse, refuse, refuse},
	factConfirmAsked:  {refuse, refuse, refuse, refuse, confirm, confirm, refuse, refuse, refuse, refuse},
	factSoftDue:       {ignore, ignore, giveUp, ignore, expire, ignore, ignore, ignore, ignore, ignore},
	factHardDue:       {ignore, ignore, ignore, ignore, ignore, overdue, ignore, ignore, ignore, ignore},
	factDrainDue:      {ignore, ignore, ignore, ignore, ignore, overrun, ignore, ignore, ignore, ignore},
	factRenewDue:      {ignore, ignore, renew, ignore, renew, renew, ignore, ignore, ignore, ignore},
	factRetryDue:      {ignore, ignore, ignore, ignore, ignore, ignore, again, stand, stand, ignore},
	factWaitDue:       {ignore, ignore, ignore, ignore, listen, listen, ignore, ignore, ignore, ignore},
	factObserveDue:    {ignore, observe, observe, observe, observe, observe, observe, observe, observe, ignore},
	factTick:          {ignore, ignore, ignore, ignore, ignore, ignore, ignore, ignore, ignore, ignore},
}
