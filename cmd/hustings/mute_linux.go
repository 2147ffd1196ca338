package main

import "golang.org/x/sys/unix"

// mute has a terminal not show what is typed, until unmute.
func mute(tty int) (unmute func()) {
	old, err := unix.IoctlGetTermios(tty, unix.TCGETS)
	if err != nil {
		return func() {} // reading the password fails as well, or shows nothing by itself
	}
	silent := *old
	silent.Lflag &^= unix.ECHO
	_ = unix.IoctlSetTermios(tty, unix.TCSETS, &silent)
	return func() { _ = unix.IoctlSetTermios(tty, unix.TCSETS, old) }
}
