package cgroup

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestReap(t *testing.T) {
	s, err := Open("skerry_c9e201")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	sleeper := exec.Command("sleep", "1000")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- sleeper.Wait() }()
	for _, root := range s.roots {
		for _, id := range []string{"ta-gone", "sb-gone", "ta-kept", "build/step"} {
			if err := os.MkdirAll(filepath.Join(root, id), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Cleanup(func() {
		if err := s.Reap(context.Background(), nil); err != nil {
			t.Error(err)
		}
		// Other parts of the instance may have limited it, or be about to make groups in it.
		for _, root := range s.roots {
			if _, err := os.Stat(root); err != nil {
				t.Errorf("the subtree went with its groups: %v", err)
			}
		}
		if err := s.Prune(); err != nil {
			t.Error(err)
		}
	})
	// Processes can't join a cpuset group of version 1 that has no CPUs, so one hierarchy stands for all.
	joined := filepath.Join(Root, "memory", "skerry_c9e201", "ta-gone")
	if s.v2 {
		joined = filepath.Join(s.roots[0], "ta-gone")
	}
	if err := os.WriteFile(filepath.Join(joined, "cgroup.procs"), []byte(strconv.Itoa(sleeper.Process.Pid)), 0o600); err != nil {
		t.Fatal(err)
	}
	if oom, err := s.OOM("ta-gone"); oom.Kills != 0 || err != nil {
		t.Errorf("OOM %+v, %v", oom, err)
	}
	if err := s.Reap(ctx, map[string]bool{"ta-kept": true}); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the process was not killed")
	}
	for _, root := range s.roots {
		for _, gone := range []string{"ta-gone", "sb-gone"} {
			if _, err := os.Stat(filepath.Join(root, gone)); err == nil {
				t.Errorf("%s still has the group %s", root, gone)
			}
		}
		if _, err := os.Stat(filepath.Join(root, "ta-kept")); err != nil {
			t.Errorf("the kept group: %v", err)
		}
	}
	for _, root := range s.roots {
		if _, err := os.Stat(filepath.Join(root, "build", "step")); err != nil {
			t.Errorf("another part's group: %v", err)
		}
		if err := remove(filepath.Join(root, "build")); err != nil {
			t.Error(err)
		}
	}
	if err := s.Remove(ctx, "ta-never"); err != nil {
		t.Errorf("a group that is not there: %v", err)
	}
}

func TestLimit(t *testing.T) {
	s, err := Open("skerry_c9e202")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for _, root := range s.roots {
			if _, err := os.Stat(root); err == nil {
				t.Errorf("%s is left", root)
			}
		}
	})
	for range 2 {
		if err := s.Limit(Limits{MemoryBytes: 64 << 20, CPUMilli: 1500, Processes: 1000}); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"memory/NAME/memory.limit_in_bytes": "67108864", "pids/NAME/pids.max": "1000", "cpu/NAME/cpu.shares": "1536"}
	if s.v2 {
		want = map[string]string{"NAME/memory.max": "67108864", "NAME/pids.max": "1000", "NAME/cpu.weight": "59"}
	}
	for file, value := range want {
		got, err := os.ReadFile(filepath.Join(Root, strings.ReplaceAll(file, "NAME", s.name)))
		if err != nil || strings.TrimSpace(string(got)) != value {
			t.Errorf("%s: %q, %v; want %s", file, got, err, value)
		}
	}
}

// TestMemory counts what the groups of a subtree hold together.
func TestMemory(t *testing.T) {
	s, err := Open("skerry_c9e205")
	if err != nil {
		t.Fatal(err)
	}
	if used, err := s.Memory(); err != nil || used != 0 {
		t.Errorf("before there is any: %d, %v", used, err)
	}
	const size, limit = 8 << 20, 256 << 20
	t.Cleanup(func() {
		if err := errors.Join(s.Remove(context.Background(), "ta-1"), s.Remove(context.Background(), "ta-2"), s.Close()); err != nil {
			t.Error(err)
		}
	})
	for _, id := range []string{"ta-1", "ta-2"} {
		groups, err := s.Hold(id, Limits{MemoryBytes: limit}, 0)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `x=$(head -c "$1" /dev/zero | tr "\\000" x); echo; read y; echo ${#x} $y`, "sh", strconv.Itoa(size))
		cmd.SysProcAttr = &syscall.SysProcAttr{}
		_, err = cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(groups, cmd.SysProcAttr, cmd.Start); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cmd.Wait() }()
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if used, err := s.Memory(); err != nil || used < 2*size || used > 2*limit {
		t.Errorf("%d bytes, %v; want more than %d", used, err, 2*size)
	}
	for _, id := range []string{"ta-1", "ta-2"} {
		if err := s.Kill(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
}

func TestHostMemory(t *testing.T) {
	for _, most := range []uint64{1 << 20, 1 << 62} {
		if got, err := HostMemory(most); err != nil || got == 0 || got > most {
			t.Errorf("of %d: %d, %v", most, got, err)
		}
	}
}

func TestEntering(t *testing.T) {
	s, err := Open("skerry_c9e203")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	words, err := s.Entering("ta-a b", Limits{CPUMilli: 500, Processes: 77})
	if err != nil {
		t.Fatal(err)
	}
	if s.v2 {
		if words != nil {
			t.Errorf("words %q", words)
		}
		return
	}
	words = append(words, "cat", "/proc/self/cgroup")
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, controller := range []string{"memory", "cpu", "pids"} {
		if !strings.Contains(string(out), ":"+controller+":/skerry_c9e203/ta-a b\n") {
			t.Errorf("not in the group of %s: %s", controller, out)
		}
	}
	if got, err := os.ReadFile(filepath.Join(Root, "pids", s.name, "ta-a b", "pids.max")); err != nil || strings.TrimSpace(string(got)) != "77" {
		t.Errorf("pids.max %q, %v", got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Remove(ctx, "ta-a b"); err != nil {
		t.Error(err)
	}
	words[3] = "sh"
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err == nil {
		t.Errorf("runs outside of a group that is gone: %s", out)
	}
}

func TestHeldProcessesStartInside(t *testing.T) {
	s, err := Open("skerry_c9e204")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	groups, err := s.Hold("build/one", Limits{MemoryBytes: 64 << 20, Processes: 20}, 500)
	if err != nil {
		t.Fatal(err)
	}
	sleeper := exec.CommandContext(ctx, "sleep", "1000")
	sleeper.SysProcAttr = &syscall.SysProcAttr{}
	if err := s.Start(groups, sleeper.SysProcAttr, sleeper.Start); err != nil {
		t.Fatal(err)
	}
	if pids, err := s.Processes("build"); err != nil || !slices.Equal(pids, []int{sleeper.Process.Pid}) {
		t.Errorf("processes %v, %v; want %d", pids, err, sleeper.Process.Pid)
	}
	quota := filepath.Join(Root, "cpu", s.name, "build/one", "cpu.cfs_quota_us")
	if s.v2 {
		quota = filepath.Join(Root, s.name, "build/one", "cpu.max")
	}
	if got, err := os.ReadFile(quota); err != nil || !strings.HasPrefix(string(got), "50000") {
		t.Errorf("quota %q, %v", got, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- sleeper.Wait() }()
	if err := s.Remove(ctx, "build"); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("the process was not killed")
	}
	if err := s.Prune(); err != nil {
		t.Error(err)
	}
}
