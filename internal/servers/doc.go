// Package servers runs real servers as processes, for tests: it builds them
// from Go modules, starts them on free loopback ports with their data in a
// temporary folder, pauses, kills and restarts them, and puts a proxy in front
// of them that cuts the network. Nothing of it outlives the test.
//
// Everything here is for Unix, takes a [testing.TB], and fails the test rather
// than return an error; so call it from the test's own goroutine. What is
// awaited is a condition, with a deadline: no function waits for a time that
// was guessed.
//
// A server stands in a Go module of its own in a folder beside this file, whose
// tool directives name what [Build] builds. These modules are not in go.work:
// no user of the library, and no other part of it, gets to see what a server
// depends on. The package itself imports the standard library alone.
package servers
