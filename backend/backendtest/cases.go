package backendtest

// cases is the whole contract, in the order in which it is best read.
func cases() []testCase {
	asking := askingCases()
	all := asking
	for _, c := range asking {
		if c.telling {
			all = append(all, told(c))
		}
	}
	return append(all, told(testCase{name: "nothing is told after a stop", run: tellStop}))
}

func askingCases() []testCase {
	return []testCase{
		{name: "a candidate wins a vacant key and resigns it", run: winAndResign},
		{name: "a grant counts from before the request", run: grants},
		{name: "a lease outlives the context of its Campaign", run: leaseOutlivesContext},
		{name: "many sessions hold a key one at a time and all get their turn", run: exclusive},
		{name: "candidates win in the order in which they came", run: inOrder, needs: []ability{hasFIFO}},
		{name: "a second candidacy of one session for one key is busy", run: busy},
		{name: "Resign hands over to a waiting candidate at once", run: handover},
		{name: "Resign may be repeated", run: resignTwice},

		{name: "tokens grow from term to term", run: tokens},
		{name: "tokens grow after a deposition", run: tokensAfterDepose, needs: []ability{canDepose}},
		{name: "tokens grow after an expiry", run: tokensAfterExpiry, needs: []ability{hasExpiry}},
		{name: "Renew proves the record and not only the session", run: renewProves, needs: []ability{canDepose}},
		{name: "late calls of a resigned term touch no successor", run: lateAfterResign},
		{name: "late calls of a deposed term touch no successor", run: lateAfterDepose, needs: []ability{canDepose}},
		{name: "late calls of an expired term touch no successor", run: lateAfterExpiry, needs: []ability{hasExpiry}},
		{name: "a lease that is renewed outlives its TTL and so does who waits", run: renewExtends, needs: []ability{hasExpiry}},
		{name: "a lease that nobody renews ends with its TTL", run: expiry, needs: []ability{hasExpiry}},
		{name: "after a crash the next candidate wins and not too soon", run: crash, needs: []ability{canKill}},
		{name: "a candidate that died in the queue blocks nobody", run: crashInQueue, needs: []ability{canKill}},

		{name: "Wait tells of a removed record", run: waitTells, needs: []ability{tellsLoss, canDepose}, telling: true},
		{name: "Wait waits while the term lasts", run: waitWaits, telling: true},

		{name: "a context that has ended has no effect on anything", run: endedContext},
		{name: "a Campaign cancelled while it waits leaves nothing behind", run: cancelWaiting},
		{name: "a Campaign cancelled as it starts leaves nothing behind", run: cancelStarting},
		{name: "a Campaign cancelled as the key comes to it leaves nothing behind", run: cancelWinning},
		{name: "cancelling one call of a session disturbs no other", run: cancelOne, telling: true},

		{name: "Observe follows vacancy, leader, value and successor", run: follow, telling: true},
		{name: "Observe starts with what is true", run: observeStarts, telling: true},
		{name: "Observe does nothing before it is ranged over", run: observeLazy},
		{name: "several observers see the same", run: observeTogether, telling: true},
		{name: "leaving the loop of Observe costs nobody anything", run: observeLeave, telling: true},
		{name: "an observed value belongs to the caller", run: observeOwned, telling: true},

		{name: "any bytes can be announced", run: values},
		{name: "the longest value is taken and one byte more is refused", run: longest, needs: []ability{hasMax}},
		{name: "a value may be overwritten after the call", run: scribble},
		{name: "bad keys are refused", run: badKeys},
		{name: "the longest key is taken", run: longestKey},
		{name: "nested keys never meet", run: nested},

		{name: "a closed session takes no calls", run: closed, telling: true},
		{name: "Close ends a waiting Campaign and leaves nothing behind", run: closeWaiting},
		{name: "Close leaves a held lease to be resigned", run: closeHolding, telling: true},
		{name: "Close of one session disturbs no other", run: closeOne},

		{name: "a session holds a hundred keys", run: hundred},
		{name: "an idle store makes no calls", run: idle, needs: []ability{canCount}, alone: true},
	}
}
