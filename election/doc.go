// Package election is leader election: a program stands under a key, follows what happens as typed events,
// leads while it holds the key, and is told, by its own clock, to stop before anybody else can start.
//
//	for ev := range e.Events(ctx) { // stands for election while the loop runs
//		switch ev.State {
//		case election.StateCampaigning:
//			follow(ev.Context(), ev.Leader) // who leads; ev.Leader.Vacant() when nobody does
//		case election.StateLeader:
//			serve(ev.Context(), ev.Term) // returns when its context ends: with the term
//		case election.StateErrored:
//			log.Printf("store trouble, next try in %v: %v", ev.RetryIn, ev.Err)
//		}
//	} // leaving the loop resigns; nothing is left running
//
// Where leading is one function, [Election.Run] is shorter. [Observe] only follows. The store is any
// [backend.Backend]; package memory is the one for unit tests.
//
// # Why it is safe
//
// A lease in a store cannot make two programs exclude each other by itself: the holder may stop between
// looking at its clock and writing. So there are two promises, and they rest on different things.
//
// Validity: at no instant do two candidates hold valid terms of one key, if (A1) the store's conditional
// writes are linearizable and what it acknowledged survives, (A2) it never ends a lease sooner than the TTL
// after it received the last renewal, (A3) this machine's clocks run at most a few percent wrong and see a
// suspend, (A4) each Backend value has an identity of its own, (A5) nobody edits the record, and (A6) all
// candidates honour the holder's TTL. The argument:
//
//   - The store counts a lease from when a request reached it. We count from before the request was sent
//     ([backend.Grant].Sent). So our count is ahead of the store's, whatever the network did to request and
//     answer, and a slow answer never lengthens a term.
//   - A term is over for us at hard = Sent + TTL − margin. The margin covers clocks that run at different
//     rates: for a margin of a tenth they may differ by 10 %.
//   - The store gives the key to somebody else only after the lease has ended there, which is after hard, or
//     after we gave it up, and we give it up only when the term is over here. So whoever comes next begins
//     after we ended.
//   - Winning is verified: a backend says "won" only after it has seen its own record in the store.
//   - Elapsed time is the larger of what the wall clock says and what the monotonic clock says, with suspended
//     time added. [Term.Valid] computes it anew on every call, so that a process that was stopped, or a machine
//     that slept, finds its term over on its first instruction after waking, before any goroutine was told.
//
// Fencing: with no assumption about time at all, if the resource refuses a token lower than the highest it
// has seen, and A1 holds, then no effect of an older term is accepted after one of a newer term.
// [Term.Token] is that token. Use it wherever the resource can check it: it is the only thing that covers a
// pause between a check and its effect, a paused virtual machine, whose clocks all stand still, and a
// snapshot that was restored twice.
//
// Not promised: that work has stopped when the term is over (only that it was told, in time), that observers
// are up to date, or that candidates win in order (etcd and ZooKeeper queue them; others do not).
//
// # The timings
//
// All follow from the latest grant. With the defaults and a TTL of 15 s: the work is told to stop at soft
// (10.5 s after the renewal that last succeeded was sent), the term is over at hard (13.5 s), the lease ends in
// the store at 15 s or later. A renewal is due at half of soft (5.25 s), each attempt is given a seventh of
// soft (1.5 s), so that three fit; one hung call costs one attempt, never the term.
//
// # Stepping down
//
// There is one order, in one place. A term that the store has given away is over first. Otherwise its context is
// cancelled with its cause; the event is published; the work is awaited, while the lease is still renewed and
// Valid tells the truth about it, so that a last write can finish; then the term is over for good; only then is the
// key given up, by term, so that a successor can never be evicted. Nothing is given up under work that
// still runs: work that outlives its limit is reported, and the lease is left to run out.
//
// A term's work is: the function given to Run, until it returns; in a loop over Events, the body, until the
// loop asks for the next event after the one that ended the term, or leaves; and every function started with
// [Term.Go].
//
// # The events
//
// Each of these promises has a test that fails without it:
//
//  1. The election never waits for a listener in order to renew, to end a term or to publish.
//  2. A Leader event whose term is over when the loop takes it is dropped unseen. There is exactly one Leader
//     event per term.
//  3. A loop that saw a term begin next sees an event that tells how it ended: Previous is StateLeader, Err is
//     the cause.
//  4. Unread events cannot pile up: at most one per state is kept, the latest, in the order of the latest.
//  5. A loop that is not left sees as its last event StateResigned (its context ended) or StateErrored with
//     RetryIn 0. After the loop nothing of ours runs, and the key is gone or expires within its TTL.
//  6. Leaving by return, break, panic or a cancelled context resigns at once, but never under work that
//     still runs.
//
// # The states
//
// The machine behind this is a pure function of facts and times; docs/fsm.md shows it whole. Seen from outside:
//
//	         start               won
//	Idle ───────────▶ Campaigning ───────────▶ Leader
//	                   ▲  ▲   │ failed           │ │ │
//	           rejoin  │  │   ▼                  │ │ └─ lost (the store said so) ──▶ Campaigning
//	Resigned ──────────┘  └─ Errored ◀─ expired ─┘ │
//	   ▲                retry    │ permanent       │ resign
//	   └───────────────────────────────────────────┘
package election
