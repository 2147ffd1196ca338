// Package migrating holds, as examples that are compiled and run, what docs/migrating.md shows: the loops of
// older libraries, written with this one. They run on the memory store; in production the first line is the
// constructor of yours.
package migrating
