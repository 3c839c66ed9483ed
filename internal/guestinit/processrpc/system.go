package processrpc

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
)

const (
	// maxSystem is how many processes of the system are listed.
	maxSystem = 4096
	// maxCommandLine is how much of each command line is shown, in bytes.
	maxCommandLine = 4 << 10
	// ticks are what the kernel counts processor time in, a second.
	ticks = 100
)

// listSystem lists the processes that a proc file system knows, by PID. Errors: fault.Precondition without one.
func listSystem(proc string) ([]*skerryv1.SystemProcess, error) {
	dir, err := os.Open(filepath.Clean(proc))
	if err != nil {
		return nil, fault.New(fault.Precondition, "list processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fault.New(fault.Precondition, "list processes: %w", err)
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	var all []*skerryv1.SystemProcess
	for _, pid := range pids[:min(len(pids), maxSystem)] {
		if p, ok := readSystem(filepath.Join(proc, strconv.Itoa(pid))); ok {
			p.Pid = int32(pid) //nolint:gosec // PIDs fit
			all = append(all, p)
		}
	}
	return all, nil
}

// readSystem describes one process, or says no if it has ended meanwhile.
func readSystem(dir string) (*skerryv1.SystemProcess, bool) {
	stat, err := readSome(filepath.Join(dir, "stat"))
	if err != nil {
		return nil, false
	}
	// The name, which may be anything, is in the last pair of parentheses.
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return nil, false
	}
	fields := strings.Fields(string(stat[end+1:]))
	number := func(i int) int64 {
		if i >= len(fields) {
			return 0
		}
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	p := &skerryv1.SystemProcess{
		ParentPid:   int32(number(1)), //nolint:gosec // PIDs fit
		CpuTime:     durationpb.New(time.Duration(number(11)+number(12)) * time.Second / ticks),
		MemoryBytes: uint64(max(0, number(21))) * uint64(os.Getpagesize()), //nolint:gosec // page sizes are positive
	}
	line, err := readSome(filepath.Join(dir, "cmdline"))
	if line = bytes.TrimRight(line, "\x00"); err != nil || len(line) == 0 {
		p.Argv = []string{strings.ToValidUTF8(string(stat[open+1:end]), "?")}
		return p, true
	}
	p.Argv = strings.Split(strings.ToValidUTF8(string(line), "?"), "\x00")
	return p, true
}

func readSome(path string) ([]byte, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxCommandLine))
}
