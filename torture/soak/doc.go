// Package soak lets elections run for long in one process, with leaders that change every few seconds, and looks
// whether memory, goroutines or file descriptors grow. It is all tests:
//
//	make soak MINUTES=60
package soak
