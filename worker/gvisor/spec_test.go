package gvisor

import (
	"testing"

	"github.com/skerry-dev/skerry/internal/cgroup"
	"github.com/skerry-dev/skerry/worker/container"
)

func testRuntime(t *testing.T) *Runtime {
	t.Helper()
	groups, err := cgroup.Open("skerry_abcdef")
	if err != nil {
		t.Fatal(err)
	}
	return &Runtime{cfg: Config{Cgroups: groups, MaxProcesses: 300}}
}

func TestSpec(t *testing.T) {
	s := testRuntime(t).rootSpec(container.SandboxParams{
		ID: "ta-1", Image: "/blobs/x", DiskDir: "/disks", DiskMiB: 64, NetnsPath: "/run/netns/a", Hostname: "ta-1", Argv: []string{"/init"},
		Binds:    []container.Bind{{Source: "/a", Target: "/b"}, {Source: "/c", Target: "/d", Writable: true}},
		CPUMilli: 125, CPULimitMilli: 1500, MemoryLimitMiB: 256,
	})
	if s.Linux.CgroupsPath != "/skerry_abcdef/ta-1" || *s.Linux.Resources.Pids.Limit != 300 {
		t.Errorf("group %s, processes %d", s.Linux.CgroupsPath, *s.Linux.Resources.Pids.Limit)
	}
	if got := s.Annotations["dev.gvisor.spec.rootfs.options"]; got != "size=67108864" {
		t.Errorf("disk: %s", got)
	}
	if r := s.Linux.Resources; *r.CPU.Shares != 128 || *r.CPU.Quota != 150_000 || *r.Memory.Limit != (256+MemoryOverheadMiB)<<20 {
		t.Errorf("resources: %+v", r)
	}
	modes := map[string]string{}
	for _, m := range s.Mounts {
		if m.Type == "bind" {
			modes[m.Destination] = m.Options[len(m.Options)-1]
		}
	}
	if modes["/b"] != "ro" || modes["/d"] != "rw" || len(modes) != 2 {
		t.Errorf("binds: %v", modes)
	}
	for _, c := range s.Process.Capabilities.Bounding {
		if c == "CAP_SYS_ADMIN" || c == "CAP_NET_RAW" || c == "CAP_MKNOD" {
			t.Errorf("has %s", c)
		}
	}
	if len(s.Process.Env) != 1 || !s.Process.NoNewPrivileges {
		t.Errorf("process: %+v", s.Process)
	}
}

func TestNoLimits(t *testing.T) {
	r := testRuntime(t).rootSpec(container.SandboxParams{CPUMilli: 1}).Linux.Resources
	if r.Memory != nil || r.CPU.Quota != nil || *r.CPU.Shares != 2 {
		t.Errorf("resources: %+v", r)
	}
}
