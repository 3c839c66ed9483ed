package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Limits bound a group. Zero leaves a resource as it is.
type Limits struct {
	MemoryBytes uint64
	CPUMilli    uint32 // weight against other groups of the host, in thousandths of a core; no ceiling
	Processes   uint64 // host tasks
}

// Version 1 weighs CPUs by 2 to 262144 shares, 1024 of which are a core, version 2 by 1 to 10000.
const (
	minShares, maxShares = 2, 262144
	maxWeight            = 10000
)

func shares(milli uint32) uint64 { return min(max(minShares, uint64(milli)*1024/1000), maxShares) }

// Limit makes the subtree and bounds all containers of the instance together, so that those without limits of their own leave the host
// enough. It may be called again.
func (s *Subtree) Limit(l Limits) error {
	if s.v2 {
		root := s.roots[0]
		// Children have the controllers that each group above them passes on.
		return errors.Join(delegate(Root), mkdir(root), delegate(root), limitV2(root, l))
	}
	_, err := s.limitV1("", l)
	return err
}

// groupsV1 are a group's folders in the hierarchies that bound and count it; those of cpu and cpuacct are the same on many hosts.
func (s *Subtree) groupsV1(id string) []string {
	var groups []string
	for _, hierarchy := range s.bounding {
		groups = append(groups, filepath.Join(Root, hierarchy, s.name, id))
	}
	return groups
}

// limitV1 makes a group of the subtree in the hierarchies that bound something, and returns its folders.
func (s *Subtree) limitV1(id string, l Limits) ([]string, error) {
	groups := s.groupsV1(id)
	memory, cpu, pids := groups[0], groups[1], groups[2]
	for _, g := range groups {
		if err := mkdir(g); err != nil {
			return nil, err
		}
	}
	return groups, errors.Join(
		hierarchical(memory), set(memory, "memory.limit_in_bytes", l.MemoryBytes),
		setIf(l.CPUMilli > 0, cpu, "cpu.shares", shares(l.CPUMilli)), set(pids, "pids.max", l.Processes))
}

// CeilingPeriod is the kernel's own period for limits on CPU, in microseconds.
const CeilingPeriod = 100_000

// Hold makes a group of the subtree for the calling program to put processes into, with limits of its own. MaxCPUMilli is how much CPU it
// may use, in thousandths of a core; 0: as much as there is. It returns the folders whose file "cgroup.procs" a process is written to.
func (s *Subtree) Hold(id string, l Limits, maxCPUMilli uint32) ([]string, error) {
	quota := uint64(maxCPUMilli) * CeilingPeriod / 1000
	if !s.v2 {
		groups, err := s.limitV1(id, l)
		if err != nil {
			return nil, err
		}
		cpu := filepath.Join(Root, "cpu", s.name, id)
		return groups, errors.Join(setIf(quota > 0, cpu, "cpu.cfs_period_us", CeilingPeriod), set(cpu, "cpu.cfs_quota_us", quota))
	}
	group := s.roots[0]
	// Children have the controllers that each group above them passes on.
	errs := []error{delegate(Root), mkdir(group), delegate(group)}
	for part := range strings.SplitSeq(filepath.Dir(id), "/") {
		if part != "." {
			group = filepath.Join(group, part)
			errs = append(errs, mkdir(group), delegate(group))
		}
	}
	group = filepath.Join(s.roots[0], id)
	errs = append(errs, mkdir(group), limitV2(group, l))
	if quota > 0 {
		errs = append(errs, write(group, "cpu.max", fmt.Sprintf("%d %d", quota, CeilingPeriod)))
	}
	return []string{group}, errors.Join(errs...)
}

func limitV2(group string, l Limits) error {
	weight := 1 + (shares(l.CPUMilli)-minShares)*(maxWeight-1)/(maxShares-minShares)
	return errors.Join(set(group, "memory.max", l.MemoryBytes), set(group, "pids.max", l.Processes),
		setIf(l.CPUMilli > 0, group, "cpu.weight", weight))
}

// entering is a shell's program that writes itself into the files of its first arguments, up to "--", and becomes the program of the others.
const entering = `while [ "$1" != -- ]; do echo 0 > "$1" || exit 125; shift; done; shift; exec "$@"`

func enter(groups []string, file string) []string {
	words := []string{"/bin/sh", "-c", entering, "sh"}
	for _, g := range groups {
		words = append(words, filepath.Join(g, file))
	}
	return append(words, "--")
}

// Entering makes a container's group and returns the words before a command that runs it there. Sandbox runtimes do the same by
// themselves, but in version 1 they move processes that run, in every hierarchy and back, and wait each time until all of the host's
// processors have noticed; a process that moves its own single thread does not wait. In version 2 it returns nothing: a process can be
// started in its group, and runtimes do so.
func (s *Subtree) Entering(id string, l Limits) ([]string, error) {
	if s.v2 {
		return nil, nil
	}
	groups, err := s.limitV1(id, l)
	if err != nil {
		return nil, err
	}
	return enter(groups, "tasks"), nil
}

// Joining returns the words before a command that runs it in a group that is there.
func (s *Subtree) Joining(id string) []string {
	if s.v2 {
		return enter([]string{filepath.Join(s.roots[0], id)}, "cgroup.procs")
	}
	return enter(s.groupsV1(id), "tasks")
}

// hierarchical makes the groups below count for this one, which kernels before 5.11 do only when asked.
func hierarchical(group string) error {
	err := os.WriteFile(filepath.Join(group, "memory.use_hierarchy"), []byte("1"), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	return nil
}

// delegate has a version 2 group pass on the controllers that containers are limited by.
func delegate(group string) error {
	err := os.WriteFile(filepath.Join(group, "cgroup.subtree_control"), []byte("+memory +cpu +pids"), 0)
	if err != nil {
		return fmt.Errorf("cgroup: pass on memory, cpu and pids: %w", err)
	}
	return nil
}

func mkdir(group string) error {
	if err := os.MkdirAll(group, 0o755); err != nil { //nolint:gosec // as the kernel makes the others
		return fmt.Errorf("cgroup: %w", err)
	}
	return nil
}

func set(group, file string, value uint64) error { return setIf(value > 0, group, file, value) }

func setIf(wanted bool, group, file string, value uint64) error {
	if !wanted {
		return nil
	}
	return write(group, file, strconv.FormatUint(value, 10))
}

func write(group, file, value string) error {
	if err := os.WriteFile(filepath.Join(group, file), []byte(value), 0); err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	return nil
}

// HostMemory returns the limit that this host's own control group has, as where it is a container itself, or most if it has none.
func HostMemory(most uint64) (uint64, error) {
	for _, file := range []string{"memory.max", "memory/memory.limit_in_bytes"} {
		data, err := os.ReadFile(filepath.Join(Root, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue // the topmost group of a version 2 hierarchy has no such file
		}
		if err != nil {
			return 0, fmt.Errorf("cgroup: %w", err)
		}
		text := strings.TrimSpace(string(data))
		if text == "max" {
			return most, nil
		}
		limit, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("cgroup: %s: %w", file, err)
		}
		return min(limit, most), nil
	}
	return most, nil
}
