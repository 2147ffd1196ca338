// Package memory is a store in the process: for tests, and for programs that are a single process. It
// does not elect across processes.
//
// It is an honest store. Leases have a TTL and end when they are not renewed; candidates wait in a
// queue, first come first served, and are woken, not polled; every term has a token greater than all
// before it, of any key of the store; late calls of an old term never touch a successor. It uses only
// channels, timers and mutexes that are never held across a wait, so that it works in a
// testing/synctest bubble, in virtual time. What was made in a bubble is used only in that bubble.
//
// # Sessions
//
// [New] makes a store with one session, and [Backend.Peer] another session of the same store, as a
// further process would have with a real one. The store lives as long as anything refers to it; it has
// no goroutine, and nothing of it needs closing except what [Backend.Close] says.
//
// A lease lasts for the TTL since it was won or last renewed. A candidacy lasts while its Campaign
// waits and the session reaches the store, which costs no calls; from a cut on, and where it could not
// be withdrawn, it lasts for the TTL.
//
// # Faults
//
// Tests can order faults, of the store and of a session:
//
//   - [Backend.Depose]: an operator removes the leader's record, and Wait tells.
//   - [Backend.Expire]: the leader's TTL runs out in the store, and Wait does not tell.
//   - [Backend.Cut], [Backend.Heal]: the session's network is gone, and comes back.
//   - [Backend.Fail]: calls fail before they reach the store.
//   - [Backend.Hang]: calls hang without reaching the store.
//   - [Backend.Lose]: calls reach the store, and their answers are lost.
//
// A call is one request to the store: one for each Renew, Proclaim, Resign, Wait and Observe; one for a
// Campaign that wins at once, two for one that had to wait; and one to take back what a failed
// Campaign or Resign left in the store. What is refused without asking the store (a bad key, a context
// that has ended, ErrBusy) is no call.
package memory
