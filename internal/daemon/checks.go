package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	builder "github.com/skerry-dev/skerry/imagebuilder/server"
	"github.com/skerry-dev/skerry/internal/config"
	"github.com/skerry-dev/skerry/worker/network"
)

const (
	// minDisk is the free space under which builds soon fail, in bytes.
	minDisk = 5 << 30
	// minKernel is the oldest kernel with pidfds and the nftables features in use.
	minKernelMajor, minKernelMinor = 5, 10
	versionTimeout                 = 10 * time.Second
	cniFolder                      = "/usr/lib/cni"
)

func checkUser(config.Config) []finding {
	uid := os.Geteuid()
	return []finding{verdict("root", uid == 0, fmt.Sprintf("user %d", uid), "run skerryd with sudo")}
}

func checkKernel(config.Config) []finding {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return []finding{verdict("kernel", false, err.Error(), "run on Linux")}
	}
	release := unix.ByteSliceToString(u.Release[:])
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return []finding{verdict("kernel", false, release, "run a Linux kernel")}
	}
	recent := major > minKernelMajor || major == minKernelMajor && minor >= minKernelMinor
	list := []finding{verdict("kernel", recent, release, fmt.Sprintf("run Linux %d.%d or later", minKernelMajor, minKernelMinor))}
	supported, err := kernelFileSystems()
	if err != nil {
		return append(list, verdict("overlay", false, err.Error(), "mount /proc"))
	}
	fuse := verdict("fuse", supported["fuse"], presence(supported["fuse"]), "run: modprobe fuse (without it images are fetched whole before they start)")
	if fuse.state == lacking {
		fuse.state = advice
	}
	return append(list, fuse,
		verdict("overlay", supported["overlay"], presence(supported["overlay"]), "run: modprobe overlay (image builds stack layers with it)"))
}

func presence(there bool) string {
	if there {
		return "in the kernel"
	}
	return "not in the kernel"
}

func kernelFileSystems() (map[string]bool, error) {
	f, err := os.Open("/proc/filesystems")
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	known := map[string]bool{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		known[fields[len(fields)-1]] = true
	}
	return known, nil
}

func checkCgroups(config.Config) []finding {
	const name = "cgroups"
	const fix = "mount control groups with cpu and memory (a systemd or a recent container host does), and let this process write there"
	if text, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		have := strings.Fields(string(text))
		there := strings.Contains(" "+strings.Join(have, " ")+" ", " memory ") && strings.Contains(" "+strings.Join(have, " ")+" ", " cpu ")
		return []finding{verdict(name, there && writable("/sys/fs/cgroup"), "version 2: "+strings.Join(have, " "), fix)}
	}
	for _, controller := range []string{"memory", "cpu"} {
		dir := filepath.Join("/sys/fs/cgroup", controller)
		if !writable(dir) {
			return []finding{verdict(name, false, dir+" is missing or read-only", fix)}
		}
	}
	return []finding{verdict(name, true, "version 1: memory and cpu", "")}
}

func writable(dir string) bool { return unix.Access(dir, unix.W_OK) == nil }

func checkNetwork(cfg config.Config) []finding {
	if os.Geteuid() != 0 {
		return []finding{verdict("network", false, "can be checked by root only", "run doctor with sudo")}
	}
	var list []finding
	for _, c := range network.Doctor(cfg.Instance()) {
		list = append(list, verdict(c.Name, c.OK, c.Detail, c.Fix))
	}
	return list
}

func checkPrograms(cfg config.Config) []finding {
	list := []finding{checkProgram("runsc", cfg.Runsc, "--version")}
	if cfg.Buildkit == "" {
		list = append(list, checkProgram("buildkitd", cfg.Buildkitd, "--version"))
	}
	dir, err := guestDir(cfg)
	if err != nil {
		return append(list, verdict("guest folder", false, err.Error(), "run: make build"))
	}
	return append(list, verdict("guest folder", true, dir, ""))
}

// checkProgram runs a program of ours for its version: that it is there doesn't say that it was built for this machine.
func checkProgram(name, setting, flag string) finding {
	path, err := program(name, setting)
	if err != nil {
		return verdict(name, false, "not found", fmt.Sprintf("run: make build; or give its path with --%s", name))
	}
	ctx, cancel := context.WithTimeout(context.Background(), versionTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, flag).Output() //nolint:gosec // the program that is to be run
	if err != nil {
		return verdict(name, false, fmt.Sprintf("%s: %v", path, err), fmt.Sprintf("build %s for this machine: make build", name))
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return verdict(name, true, fmt.Sprintf("%s (%s)", path, strings.TrimSpace(first)), "")
}

func checkBuildTools(cfg config.Config) []finding {
	var list []finding
	tool := func(name, pkg, purpose string) {
		path, err := lookPath(name)
		if err != nil {
			path = "not in PATH"
		}
		list = append(list, verdict(name, err == nil, path, fmt.Sprintf("run: apt-get install %s (%s)", pkg, purpose)))
	}
	tool("mmdebstrap", "mmdebstrap", "makes base images")
	if cfg.Buildkit == "" {
		tool("iptables", "iptables", "gives build steps their network")
		if cfg.BuildRuntime == config.RuntimeRunc {
			tool("runc", "runc", "runs build steps without isolation")
		}
		_, err := os.Stat(filepath.Join(cniFolder, "bridge"))
		list = append(list, verdict("CNI plugins", err == nil, cniFolder,
			"run: apt-get install containernetworking-plugins (they give build steps their network)"))
	}
	bundle := cfg.CABundle
	if bundle == "" {
		bundle = builder.DefaultCABundle
	}
	if _, err := os.Stat(bundle); bundle != "none" && err != nil {
		list = append(list, finding{
			name: "certificates", state: advice, detail: bundle + " is missing: builds trust only what their image trusts",
			fix: "run: apt-get install ca-certificates",
		})
	} else {
		list = append(list, verdict("certificates", true, bundle, ""))
	}
	return list
}

func checkBases(cfg config.Config) []finding {
	entries, err := os.ReadDir(cfg.Bases)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return []finding{verdict("base images", false, err.Error(), "let this process read "+cfg.Bases)}
	}
	n := 0
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && !strings.HasSuffix(e.Name(), ".new") {
			n++
		}
	}
	if n == 0 {
		return []finding{{
			name: "base images", state: advice, detail: "none yet in " + cfg.Bases + "; the first build makes one, in about two minutes",
			fix: "run: skerryd base prepare",
		}}
	}
	return []finding{verdict("base images", true, fmt.Sprintf("%d in %s", n, cfg.Bases), "")}
}

func checkDisk(cfg config.Config) []finding {
	dir := cfg.Data
	for dir != "/" {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return []finding{verdict("disk", false, err.Error(), "choose another data folder with --data")}
	}
	free := st.Bavail * uint64(st.Bsize) //nolint:gosec // never negative
	detail := fmt.Sprintf("%.1f GiB free for %s", float64(free)/(1<<30), cfg.Data)
	if free < minDisk {
		return []finding{{name: "disk", state: advice, detail: detail, fix: "free some space or choose another data folder with --data"}}
	}
	return []finding{verdict("disk", true, detail, "")}
}

func checkPort(cfg config.Config) []finding {
	pidfd, pid, err := running(cfg.PIDFile())
	if err == nil && pidfd >= 0 {
		detail := fmt.Sprintf("skerryd runs on %s as process %d", cfg.Data, pid)
		return []finding{{name: "port", detail: detail, state: closeState(pidfd)}}
	}
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", cfg.Listen)
	if err != nil {
		return []finding{verdict("port", false, err.Error(), "stop what uses it, or choose another with --listen")}
	}
	if err := ln.Close(); err != nil {
		return []finding{verdict("port", false, err.Error(), "")}
	}
	return []finding{verdict("port", true, cfg.Listen+" is free", "")}
}

func closeState(pidfd int) state {
	_ = unix.Close(pidfd) // nothing was written
	return ok
}
