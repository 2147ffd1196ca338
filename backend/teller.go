package backend

import "context"

// A call that blocks until there is news costs a goroutine for as long as there is none, for each election that leads
// or is observed. A store whose client hands out the news of all keys from one place need not pay that: it may
// implement the two interfaces below beside Wait and Observe. An election uses them where they are there. They say the
// same as Wait and Observe do, of which each is the definition; only who waits differs.
//
// For both: tell is called from goroutines of the backend's, or in the call that was given it, before that returns; one
// call at a time, in order. It does not block, and does not call the backend. The first error is the last
// call. ctx gives its values, and its end ends nothing: stop does. stop may be called at any time, more than once, and
// from anywhere but tell; when it has returned, tell is not called any more, and nothing runs on its behalf. It must be
// called also after an error. Nothing is started that outlives the last stop, but for one thing: what a LossTeller has asked the store may
// go on for a moment, as its lease is about to be resigned, which the store then answers it with. It tells nobody, and is over before Resign or Close
// returns.

// LossTeller is a Lease that tells of its loss, where Wait blocks until there is one.
type LossTeller interface {
	Lease
	// TellLoss calls tell once, with what Wait would return, unless it is stopped before.
	TellLoss(ctx context.Context, tell func(error)) (stop func())
}

// LeaderTeller is a Backend that tells who leads, where Observe blocks until that changes.
type LeaderTeller interface {
	Backend
	// TellLeaders calls tell with every Leader that Observe would yield, until it is stopped, or with the error that
	// Observe would end with. Each Leader's Value is the receiver's.
	TellLeaders(ctx context.Context, key string, tell func(Leader, error)) (stop func())
}
