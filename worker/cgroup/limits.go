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

// Limits bound all containers of an instance together, so that those without limits of their own leave the host enough. Zero leaves a
// resource as it is.
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

// Limit makes the subtree and sets its limits. It may be called again.
func (s *Subtree) Limit(l Limits) error {
	shares := min(max(minShares, uint64(l.CPUMilli)*1024/1000), maxShares)
	var errs []error
	if s.v2 {
		// Children have the controllers that each group above them passes on.
		errs = append(errs, delegate(Root))
		errs = append(errs, mkdir(s.roots[0]), delegate(s.roots[0]))
		weight := 1 + (shares-minShares)*(maxWeight-1)/(maxShares-minShares)
		errs = append(errs,
			set(s.roots[0], "memory.max", l.MemoryBytes),
			set(s.roots[0], "pids.max", l.Processes),
			setIf(l.CPUMilli > 0, s.roots[0], "cpu.weight", weight))
		return errors.Join(errs...)
	}
	for _, root := range s.roots {
		errs = append(errs, s.limitV1(root, l, shares))
	}
	return errors.Join(errs...)
}

func (s *Subtree) limitV1(root string, l Limits, shares uint64) error {
	switch controllers := filepath.Base(filepath.Dir(root)); {
	case controllers == "memory":
		return errors.Join(mkdir(root), hierarchical(root), set(root, "memory.limit_in_bytes", l.MemoryBytes))
	case controllers == "pids":
		return errors.Join(mkdir(root), set(root, "pids.max", l.Processes))
	case controllers == "cpu" || strings.HasPrefix(controllers, "cpu,") || strings.HasSuffix(controllers, ",cpu"):
		return errors.Join(mkdir(root), setIf(l.CPUMilli > 0, root, "cpu.shares", shares))
	}
	return nil
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
	err := os.Mkdir(group, 0o755) //nolint:gosec // as the kernel makes the others
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cgroup: %w", err)
	}
	return nil
}

func set(group, file string, value uint64) error { return setIf(value > 0, group, file, value) }

func setIf(wanted bool, group, file string, value uint64) error {
	if !wanted {
		return nil
	}
	if err := os.WriteFile(filepath.Join(group, file), []byte(strconv.FormatUint(value, 10)), 0); err != nil {
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
