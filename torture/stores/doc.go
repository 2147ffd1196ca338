// Package stores tells how each real store takes part in the runs of this module: how its cluster is started and
// harmed, how a candidate opens a session with it, and what an operator can see and do in it.
package stores
