// Command hustings runs programs on one machine out of many, and tells who leads. Start with
//
//	hustings demo
//	hustings help
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}
