//go:build !unix

// Package keeper runs a command that must not outlive a deadline.
package keeper
