//go:build !unix

package main

import "github.com/spf13/cobra"

func otherRole([]string) (code int, ok bool) { return 0, false }

// systemCommands is empty: there are no process groups here, by which a command and all that it started could be stopped.
func (a *app) systemCommands() []*cobra.Command { return nil }
