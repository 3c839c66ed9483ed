// Package runtime is the OCI runtime of build steps: it runs them in gVisor.
//
// BuildKit calls an OCI runtime the way it calls runc. Main takes such a call, turns it into runsc's words and becomes runsc, so a
// step is a child of BuildKit and dies with it. What differs: runsc has no "run --keep" (a container that has ended is gone by
// itself, so deleting it again is no error), and the root file system is written through, not covered by runsc's overlay, because
// what the step leaves there is the layer.
package runtime

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/netdump"
)

// Config says how steps are run. Command turns it into the arguments of Main.
type Config struct {
	// Runsc is the path of runsc.
	Runsc string
	// State is the folder of runsc's state.
	State string
	// Platform is runsc's platform; empty: DefaultPlatform.
	Platform string
	// Limits are those of one step.
	Limits Limits
}

// DefaultPlatform is the gVisor platform that works on every host.
const DefaultPlatform = "systrap"

// Limits are what one step may use; zero: no limit.
type Limits struct {
	// MemoryBytes is the most memory of all its processes.
	MemoryBytes int64
	// Cgroup is the parent of the steps' control groups, such as "/skerry_1f2e3d/build"; empty: BuildKit's.
	Cgroup string
}

// Command returns the words before BuildKit's own of a call of Main.
func (c Config) Command() []string {
	args := []string{"--runsc=" + c.Runsc, "--state=" + c.State}
	if c.Platform != "" {
		args = append(args, "--platform="+c.Platform)
	}
	if c.Limits.MemoryBytes > 0 {
		args = append(args, fmt.Sprintf("--memory=%d", c.Limits.MemoryBytes))
	}
	if c.Limits.Cgroup != "" {
		args = append(args, "--cgroup="+c.Limits.Cgroup)
	}
	return append(args, "--")
}

// Main is the runtime's process: args are those of Command, then those of the caller. It becomes runsc and returns only on failure, with
// the exit code.
func Main(args []string) int {
	_, _ = fmt.Fprintf(os.Stderr, "build runtime: %v\n", become(args))
	return failed
}

// failed is the exit code of a runtime that could not run what it was to run.
const failed = 125

// become turns the process into runsc; what it returns says why it could not.
func become(args []string) error {
	c, rest, err := parseConfig(args)
	if err != nil {
		return err
	}
	call, err := parseCall(rest)
	if err != nil {
		return err
	}
	if call.command == "run" {
		if err := c.prepare(call.bundle); err != nil {
			return err
		}
	}
	argv, err := c.argv(call)
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", c.Runsc, unix.Exec(c.Runsc, argv, os.Environ()))
}

func parseConfig(args []string) (Config, []string, error) {
	var c Config
	f := flag.NewFlagSet("buildkit-runtime", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&c.Runsc, "runsc", "", "")
	f.StringVar(&c.State, "state", "", "")
	f.StringVar(&c.Platform, "platform", DefaultPlatform, "")
	f.Int64Var(&c.Limits.MemoryBytes, "memory", 0, "")
	f.StringVar(&c.Limits.Cgroup, "cgroup", "", "")
	if err := f.Parse(args); err != nil {
		return c, nil, err
	}
	if !filepath.IsAbs(c.Runsc) || !filepath.IsAbs(c.State) {
		return c, nil, errors.New("--runsc and --state: want absolute paths")
	}
	return c, f.Args(), nil
}

// call is what BuildKit asks of an OCI runtime.
type call struct {
	command string
	bundle  string
	options []string // that runsc knows by the same name
	words   []string // container and what follows
}

// valued are the options that take the next word, as runc has them, and whether runsc is given them.
var valued = map[string]bool{
	"--log": false, "--log-format": false, "--root": false, "--bundle": false, "--console-socket": true,
	"--pid-file": true, "--process": true,
}

// flags are the options without a value.
var flags = map[string]bool{
	"--keep": false, "--debug": false, "--no-pivot": false, "--no-new-keyring": false, "--force": false,
	"--systemd-cgroup": false, "--all": true, "--detach": true,
}

func parseCall(args []string) (call, error) {
	var c call
	for i := 0; i < len(args); i++ {
		name, value, joined := strings.Cut(args[i], "=")
		if !strings.HasPrefix(name, "-") {
			if c.command == "" {
				c.command = name
			} else {
				c.words = append(c.words, args[i])
			}
			continue
		}
		pass, takes := valued[name]
		if !takes {
			var known bool
			if pass, known = flags[name]; !known {
				return c, fmt.Errorf("option %q: is not known; this version of BuildKit wants a newer runtime", name)
			}
		} else if !joined {
			if i++; i == len(args) {
				return c, fmt.Errorf("option %q: has no value", name)
			}
			value = args[i]
		}
		if name == "--bundle" {
			c.bundle = value
		}
		if pass && takes {
			c.options = append(c.options, name+"="+value)
		} else if pass {
			c.options = append(c.options, name)
		}
	}
	return c, nil
}

// argv is the call in runsc's words.
func (c Config) argv(k call) ([]string, error) {
	argv := []string{
		c.Runsc, "--root=" + c.State, "--platform=" + c.Platform, "--network=sandbox", "--overlay2=none",
	}
	if c.Limits.MemoryBytes == 0 {
		argv = append(argv, "--ignore-cgroups")
	}
	argv = append(argv, k.command)
	switch k.command {
	case "run":
		argv = append(argv, "--bundle="+k.bundle)
	case "delete":
		argv = append(argv, "--force")
	case "kill", "state", "exec":
	default:
		return nil, fmt.Errorf("command %q: is not known; this version of BuildKit wants a newer runtime", k.command)
	}
	argv = append(argv, k.options...)
	return append(argv, k.words...), nil
}

// isolate stops a step from reaching other steps on the same bridge: frames of an isolated port go to the bridge itself alone.
func isolate(path string) error {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("network namespace %q: %w", path, err)
	}
	defer func() { _ = ns.Close() }()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return fmt.Errorf("network namespace %q: %w", path, err)
	}
	defer h.Close()
	links, err := netdump.Whole(h.LinkList)
	if err != nil {
		return fmt.Errorf("network namespace %q: %w", path, err)
	}
	for _, l := range links {
		if l.Type() != "veth" {
			continue
		}
		port, err := netlink.LinkByIndex(l.Attrs().ParentIndex)
		if err != nil {
			return fmt.Errorf("bridge port of %q: %w", path, err)
		}
		if port.Attrs().MasterIndex == 0 {
			continue
		}
		if err := netlink.LinkSetIsolated(port, true); err != nil {
			return fmt.Errorf("bridge port %q: %w", port.Attrs().Name, err)
		}
	}
	return nil
}
