// Command skerry-init is PID 1 of a container; see internal/guestinit.
package main

import (
	"os"

	"github.com/skerry-dev/skerry/internal/guestinit"
)

func main() { os.Exit(guestinit.Main(os.Args[1:], os.Stderr)) }
