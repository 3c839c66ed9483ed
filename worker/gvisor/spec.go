package gvisor

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/skerry-dev/skerry/worker/container"
)

// Limits of every sandbox, whatever was asked for.
const (
	// DefaultMaxProcesses bounds host tasks of one sandbox: some tens of the sentry, and one or two for each process of the container.
	DefaultMaxProcesses = 8192
	// MaxFiles is RLIMIT_NOFILE inside.
	MaxFiles = 65536
	// MemoryOverheadMiB is added to a memory limit for the sentry itself, so that user code gets what it asked for.
	MemoryOverheadMiB = 32
	// cpuPeriod is the period of CPU quotas, in microseconds.
	cpuPeriod = 100_000
)

// capabilities of PID 1 and all it starts: what package managers and servers need inside, without CAP_NET_RAW, CAP_MKNOD, CAP_SYS_ADMIN.
var capabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE",
	"CAP_SETFCAP", "CAP_SETGID", "CAP_SETUID", "CAP_SYS_CHROOT",
}

// PID 1 alone may set the host name and mount images. What root executes has what is in the bounding set or inherited, so initOnly is
// given as inheritable, and init takes it out of that set before it starts anything.
var (
	initOnly         = []string{"CAP_SYS_ADMIN"}
	initCapabilities = append(slices.Clone(capabilities), initOnly...)
)

// apart is a capability that has no effect in gVisor. Processes of the container that a sandbox was booted with see those of containers that were
// added, for gVisor's namespaces of processes lie in one another. They can't look into what has a capability that they lack: not into its
// environment, not through its root at its socket to the worker.
const apart = "CAP_AUDIT_WRITE"

func setApart(s *specs.Spec) {
	c := *s.Process.Capabilities
	for _, set := range []*[]string{&c.Bounding, &c.Effective, &c.Permitted} {
		*set = append(slices.Clone(*set), apart)
	}
	s.Process.Capabilities = &c
}

// searchPath is init's own; processes get theirs with their start.
const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// writeBundle makes an OCI bundle in dir.
func writeBundle(dir string, spec *specs.Spec) error {
	// The sentry mounts the EROFS file itself; the folder only has to exist.
	root := filepath.Join(dir, "rootfs")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	data, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600); err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	return nil
}

// rootSpec describes a sandbox and its first container.
func (r *Runtime) rootSpec(p container.SandboxParams) *specs.Spec {
	s := imageSpec(p)
	s.Hostname = p.Hostname
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: p.NetnsPath})
	s.Linux.CgroupsPath = r.cfg.Cgroups.Path(p.ID)
	s.Linux.Resources = resources(p, r.cfg.MaxProcesses)
	return s
}

// imageSpec describes a container with an image, wherever it runs.
func imageSpec(p container.SandboxParams) *specs.Spec {
	return &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: "rootfs"},
		Process: &specs.Process{
			Args:            p.Argv,
			Env:             []string{searchPath},
			Cwd:             "/",
			NoNewPrivileges: true,
			Capabilities: &specs.LinuxCapabilities{
				Bounding: capabilities, Effective: initCapabilities, Permitted: initCapabilities, Inheritable: initOnly,
			},
			Rlimits: []specs.POSIXRlimit{
				{Type: "RLIMIT_NOFILE", Hard: MaxFiles, Soft: MaxFiles},
				{Type: "RLIMIT_CORE"},
			},
		},
		Mounts: mounts(p.Binds),
		Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{
			{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.MountNamespace},
		}},
		Annotations: annotations(p),
	}
}

// annotations tell gVisor of the container's root, and which of its mounts others change.
func annotations(p container.SandboxParams) map[string]string {
	a := map[string]string{
		criName:            cmp.Or(p.Name, mainName),
		rootfs + "source":  p.Image,
		rootfs + "type":    "erofs",
		rootfs + "overlay": "dir=" + p.DiskDir,
		rootfs + "options": "size=" + strconv.FormatUint(uint64(p.DiskMiB)<<20, 10),
	}
	for i, b := range p.Binds {
		if b.Shared {
			hint := fmt.Sprintf("%s%d.", mountHint, i)
			a[hint+"source"], a[hint+"type"], a[hint+"share"] = b.Source, "bind", "shared"
			a[hint+"options"] = access(b)
		}
	}
	return a
}

// mountHint begins the names of gVisor's annotations about a mount.
const mountHint = "dev.gvisor.spec.mount.bind"

func access(b container.Bind) string {
	if b.Writable {
		return "rw"
	}
	return "ro"
}

// rootfs begins the names of gVisor's annotations about a container's root.
const rootfs = "dev.gvisor.spec.rootfs."

// closing are options by which the source of a mount hears of each close. Without them the sentry shares one descriptor among all who have a
// file open, and keeps it when they have closed it.
var closing = []string{"disable_file_handle_sharing", "dcache=0"}

func mounts(binds []container.Bind) []specs.Mount {
	m := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc"},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs"},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		// The sentry puts a tmpfs over an empty /tmp unless the spec mounts something there, and skips a type that it does not know.
		// Without this, files in /tmp would be memory of the container instead of its disk.
		{Destination: "/tmp", Type: "none-so-tmp-stays-on-disk", Source: "none"},
	}
	for _, b := range binds {
		options := []string{"bind", "nosuid", "nodev", access(b)}
		if b.Closes {
			options = append(options, closing...)
		}
		m = append(m, specs.Mount{Destination: b.Target, Type: "bind", Source: b.Source, Options: options})
	}
	return m
}

func resources(p container.SandboxParams, pids int64) *specs.LinuxResources {
	r := &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &pids}, CPU: &specs.LinuxCPU{}}
	if p.CPUMilli > 0 {
		// 1024 shares are one core; the kernel's least is 2.
		shares := max(2, uint64(p.CPUMilli)*1024/1000)
		r.CPU.Shares = &shares
	}
	if p.CPULimitMilli > 0 {
		// Below a hundredth of a core nothing moves on.
		quota, period := max(1000, int64(p.CPULimitMilli)*cpuPeriod/1000), uint64(cpuPeriod)
		r.CPU.Quota, r.CPU.Period = &quota, &period
	}
	if p.MemoryLimitMiB > 0 {
		limit := int64(p.MemoryLimitMiB+MemoryOverheadMiB) << 20
		r.Memory = &specs.LinuxMemory{Limit: &limit}
	}
	return r
}
