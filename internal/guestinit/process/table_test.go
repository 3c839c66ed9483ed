package process

import (
	"strconv"
	"testing"

	"github.com/skerry-dev/skerry/internal/guestinit/output"
)

// TestOutputOfEndedProcesses has many processes end that have written much: what was read is forgotten, what was not is on the disk.
func TestOutputOfEndedProcesses(t *testing.T) {
	table := NewTable(output.NewStore(output.Config{Dir: t.TempDir()}))
	const processes, wrote = 64, 3 << 19
	for i := range processes {
		p := &Process{
			spec: Spec{ID: strconv.Itoa(i)}, stdout: table.outputs.NewStream(), stderr: table.outputs.NewStream(), done: make(chan struct{}),
		}
		close(p.done)
		_, _ = p.stdout.Write(make([]byte, wrote))
		p.stdout.Close()
		if i%2 == 0 {
			for f := p.stdout.Follow(0); ; {
				if c := f.Next(output.Limit / 3); c.EOF {
					f.Close()
					break
				}
			}
		}
		table.byID[p.ID()] = p
		table.remember(p)
		table.trim()
	}
	memory := 0
	for i, p := range table.ended {
		memory += p.stdout.Memory()
		f := p.stdout.Follow(0)
		c := f.Next(10)
		f.Close()
		switch {
		case i%2 == 1 && c.Dropped > 0:
			t.Errorf("process %d lost %d bytes that nobody had read", i, c.Dropped)
		case i%2 == 0 && i < processes/2 && (c.Dropped != wrote || !c.EOF):
			t.Errorf("process %d kept what was read: %+v", i, c)
		}
	}
	if memory > maxUnread+output.Limit {
		t.Errorf("%d bytes of memory are kept", memory)
	}
}
