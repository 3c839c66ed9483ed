package processrpc

import (
	"os"
	"slices"
	"testing"
)

// TestReadSystem reads this process: to read all of a host's would wait for any of them that stands still.
func TestReadSystem(t *testing.T) {
	p, ok := readSystem("/proc/self")
	if !ok || int(p.GetParentPid()) != os.Getppid() || !slices.Equal(p.GetArgv(), os.Args) || p.GetMemoryBytes() == 0 {
		t.Errorf("this process is %v", p)
	}
	if _, ok := readSystem("/proc/none"); ok {
		t.Error("a process that has ended is one")
	}
}
