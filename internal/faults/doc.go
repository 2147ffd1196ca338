// Package faults plays the failures of an election on a real store: candidates are processes of their own,
// which are killed, stopped, cut off and let down by their store, and a resource outside of all of them keeps
// the record of who wrote under which fencing token. A store's tests import it, hand it a [Harness], and let
// their TestMain play [Candidate].
package faults
