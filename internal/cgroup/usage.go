package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage returns the processor time that a container's group has used, and the memory that it uses, in bytes, without what the kernel would give
// up first: inactive pages of files. A group that is gone uses nothing.
func (s *Subtree) Usage(id string) (cpu time.Duration, memory uint64, err error) {
	if s.v2 {
		group := filepath.Join(s.roots[0], id)
		micros, err := counter(filepath.Join(group, "cpu.stat"), "usage_usec ")
		if err != nil {
			return 0, 0, err
		}
		memory, err := s.memory(filepath.Join(group, "memory.current"), filepath.Join(group, "memory.stat"), "inactive_file ")
		return time.Duration(micros) * time.Microsecond, memory, err //nolint:gosec // far below 2^63
	}
	nanos, err := number(filepath.Join(Root, "cpuacct", s.name, id, "cpuacct.usage"))
	if err != nil {
		return 0, 0, err
	}
	group := filepath.Join(Root, "memory", s.name, id)
	memory, err = s.memory(filepath.Join(group, "memory.usage_in_bytes"), filepath.Join(group, "memory.stat"), "total_inactive_file ")
	return time.Duration(nanos), memory, err //nolint:gosec // far below 2^63
}

func (s *Subtree) memory(used, stat, inactive string) (uint64, error) {
	all, err := number(used)
	if err != nil {
		return 0, err
	}
	cold, err := counter(stat, inactive)
	return all - min(all, cold), err
}

// Memory returns what all groups of the subtree hold together, in bytes, without pages of files, which the kernel can do without.
func (s *Subtree) Memory() (uint64, error) {
	group, usage, total := filepath.Join(Root, "memory", s.name), "memory.usage_in_bytes", "total_"
	if s.v2 {
		group, usage, total = s.roots[0], "memory.current", ""
	}
	stat := filepath.Join(group, "memory.stat")
	warm, err := counter(stat, total+"active_file ")
	if err != nil {
		return 0, err
	}
	held, err := s.memory(filepath.Join(group, usage), stat, total+"inactive_file ")
	return held - min(held, warm), err
}

// number returns the number that a file holds; 0 if it is not there.
func number(path string) (uint64, error) {
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("cgroup: %w", err)
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}
