package sandboxrpc

import (
	"bufio"
	"context"
	"os"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
	guestv1 "github.com/skerry-dev/skerry/internal/gen/skerry/guest/v1"
)

// GetUsage says what the container uses, as it is to be seen from inside.
func (s *Service) GetUsage(context.Context, *connect.Request[guestv1.GetUsageRequest]) (*connect.Response[guestv1.GetUsageResponse], error) {
	var disk unix.Statfs_t
	if err := unix.Statfs("/", &disk); err != nil {
		return nil, fault.ToConnect(fault.New(fault.Precondition, "usage of the disk: %w", err))
	}
	block := uint64(disk.Bsize) //nolint:gosec // block sizes are positive
	received, sent := traffic("/proc/net/dev")
	return connect.NewResponse(&guestv1.GetUsageResponse{
		DiskBytes: (disk.Blocks - disk.Bfree) * block, DiskLimitBytes: disk.Blocks * block, Processes: countProcesses("/proc"),
		NetworkReceivedBytes: received, NetworkSentBytes: sent,
	}), nil
}

// countProcesses counts the processes that a proc file system has.
func countProcesses(proc string) uint32 {
	dir, err := os.Open(proc) //nolint:gosec // a constant
	if err != nil {
		return 0
	}
	defer dir.Close()
	n := uint32(0)
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			if _, err := strconv.Atoi(name); err == nil {
				n++
			}
		}
		if err != nil {
			return n
		}
	}
}

// traffic adds up what interfaces other than loopback have received and sent, in bytes.
func traffic(path string) (received, sent uint64) {
	f, err := os.Open(path) //nolint:gosec // a constant
	if err != nil {
		return 0, 0 // a container without a network
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, rest, ok := strings.Cut(lines.Text(), ":")
		fields := strings.Fields(rest)
		if !ok || strings.TrimSpace(name) == "lo" || len(fields) < 9 {
			continue
		}
		in, errIn := strconv.ParseUint(fields[0], 10, 64)
		out, errOut := strconv.ParseUint(fields[8], 10, 64)
		if errIn == nil && errOut == nil {
			received, sent = received+in, sent+out
		}
	}
	return received, sent
}
