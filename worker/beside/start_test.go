package beside_test

import (
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/beside"
)

// A program that ends before it is ready is an error, and nothing of it goes on.
func TestStartOfWhatEnds(t *testing.T) {
	var running sync.WaitGroup
	log := filepath.Join(t.TempDir(), "log")
	for range 20 {
		_, err := beside.Start(t.Context(), t.Context(), &running, beside.Program{Command: []string{"/bin/true"}, LogFile: log})
		if !errors.Is(err, fault.Unavailable) {
			t.Fatal(err)
		}
	}
	running.Wait()
}
