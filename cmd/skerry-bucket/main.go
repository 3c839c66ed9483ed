// Skerry-bucket serves a bucket as a file system to containers; the worker starts it.
package main

import (
	"context"
	"os"

	"github.com/skerry-dev/skerry/worker/bucketfs"
)

func main() {
	if bucketfs.Main(context.Background(), os.Stdin, os.Stdout) != nil {
		os.Exit(1) // the worker has been told why
	}
}
