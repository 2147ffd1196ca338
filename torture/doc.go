// Package torture runs elections on real stores while everything around them is broken on purpose, and looks
// for what must never happen: two valid terms at once, a write of an old term after one of a new term, an
// update that was lost in spite of its fencing token, an election that does not recover, something left behind.
//
// Candidates are processes of their own, which reach a cluster of the store each through proxies of their own.
// A nemesis with a seeded source of randomness kills, stops, cuts, slows and deposes; candidates log what they see
// with the time; afterwards checkers go through the logs. All of it is tests:
//
//	make torture STORE=etcd MINUTES=5 SEED=1
//
// and a short run is part of go test. The seed fixes what the nemesis plans, not what becomes of it: real
// processes on a real network do not run twice the same way.
//
// Package linear checks a store's adapter for linearizability, package soak for slow leaks. Package stores tells how
// each store takes part.
package torture
