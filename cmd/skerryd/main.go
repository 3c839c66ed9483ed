// Skerryd runs Skerry on a machine: gateway, worker and image builder. See skerryd --help.
package main

import (
	"os"

	"github.com/skerry-dev/skerry/internal/daemon"
)

func main() {
	os.Exit(daemon.Main(os.Args[1:]))
}
