// Package linear checks what a store's adapter answers for linearizability: whether all calls of all sessions can
// be put in one order, each between its beginning and its end, that a single lease in a single place would have
// answered the same way. It is all tests; see model_test.go for what such a lease may do.
package linear
