package solve

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/imagebuilder/bridge"
	"github.com/skerry-dev/skerry/imagebuilder/runtime"
	"github.com/skerry-dev/skerry/internal/cgroup"
)

// clean removes what a daemon left: processes, mounts, network namespaces, addresses, the bridge. Layers and cache stay. With the last daemon
// of the builder goes the instance's control group, unless other parts of it still have groups there.
func (d *Daemon) clean(last bool) error {
	c := d.config
	if err := killLeftovers(c); err != nil {
		return fmt.Errorf("leftover processes: %w", err)
	}
	if err := cleanGroups(c, last); err != nil {
		return fmt.Errorf("leftover control groups: %w", err)
	}
	if err := unmountBelow(c.Root, c.RunDir, c.RuntimeState); err != nil {
		return fmt.Errorf("leftover mounts: %w", err)
	}
	paths := []string{filepath.Join(c.Root, "net"), cniData(c), pidPath(c), filepath.Join(c.RunDir, "buildkitd.sock")}
	if c.RuntimeState != "" {
		paths = append(paths, c.RuntimeState)
	}
	for _, p := range paths {
		if err := os.RemoveAll(p); err != nil {
			return err
		}
	}
	if err := cleanBundles(c.Root); err != nil {
		return err
	}
	if c.Guard.Name != "" {
		if err := c.Guard.Down(); err != nil {
			return err
		}
	}
	return bridge.Down(c.Bridge)
}

// cleanGroups kills what is left in the groups of steps, and removes them.
func cleanGroups(c DaemonConfig, last bool) error {
	if c.Cgroup == "" {
		return nil
	}
	groups, err := cgroup.Open(c.Cgroup)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), StopTimeout)
	defer cancel()
	err = groups.Remove(ctx, runtime.GroupFolder)
	if last {
		err = errors.Join(err, groups.Prune())
	}
	return err
}

// cleanBundles removes what a killed daemon left of running steps.
func cleanBundles(root string) error {
	configs, err := filepath.Glob(filepath.Join(root, "runc-*", "executor", "*", "config.json"))
	if err != nil {
		return err
	}
	for _, c := range configs {
		if err := os.RemoveAll(filepath.Dir(c)); err != nil {
			return err
		}
	}
	return nil
}

// killLeftovers kills processes whose arguments name the daemon's configuration, a bundle of its steps or its runtime's state, and waits
// for their ends. Those paths are absolute and nobody else's, so a number that was given out again hits nobody.
func killLeftovers(c DaemonConfig) error {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", d.Name(), "cmdline"))
		if err != nil {
			continue // it has ended
		}
		if !named(line, c) {
			continue
		}
		if err := kill(pid); err != nil {
			return err
		}
	}
	return nil
}

func named(cmdline []byte, c DaemonConfig) bool {
	args := strings.Split(string(cmdline), "\x00")
	return slices.ContainsFunc(args, func(arg string) bool {
		return arg == configPath(c) || strings.HasPrefix(arg, "--bundle="+c.Root+"/") ||
			c.RuntimeState != "" && (arg == "--root="+c.RuntimeState || arg == "--state="+c.RuntimeState)
	})
}

// kill ends a process and waits until it is gone.
func kill(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(StopTimeout.Milliseconds())) //nolint:gosec // a descriptor
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// unmountBelow takes off every mount below the folders, the deepest first.
func unmountBelow(roots ...string) error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var points []string
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		point := unescape.Replace(fields[4])
		if slices.ContainsFunc(roots, func(r string) bool { return r != "" && strings.HasPrefix(point, r+"/") }) {
			points = append(points, point)
		}
	}
	for _, p := range slices.Backward(points) {
		if err := unix.Unmount(p, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

// unescape undoes how mountinfo writes white space.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
