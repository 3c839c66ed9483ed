// Package runtime is the OCI runtime of build steps: it runs them in gVisor, or with runc where the operator trusts recipes, and holds
// them to their limits.
//
// BuildKit calls an OCI runtime the way it calls runc. Main takes such a call and turns it into runsc's words. What differs: runsc has no
// "run --keep" (a container that has ended is gone by itself, so deleting it again is no error), and the root file system is written
// through, not covered by runsc's overlay, because what the step leaves there is the layer.
//
// A step runs in control groups of its own, under a process of this package that watches it: BuildKit's child, which ends with BuildKit
// and takes the step with it. A step that goes over a limit is killed, and the last line that it seems to write says which; see Verdict.
package runtime

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Main is the runtime's process: args are those of Command, then those of the caller. It returns the exit code.
func Main(args []string) int {
	code, err := serve(args)
	if err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "build runtime: %v\n", err)
		return failed
	}
	return code
}

// failed is the exit code of a runtime that could not run what it was to run.
const failed = 125

// serve runs a step, or becomes the runtime for any other command.
func serve(args []string) (int, error) {
	c, rest, err := parseConfig(args)
	if err != nil {
		return 0, err
	}
	call, err := parseCall(rest)
	if err != nil {
		return 0, err
	}
	argv, err := c.argv(call)
	if err != nil {
		return 0, err
	}
	if call.command != "run" || c.Limits.Cgroup == "" {
		return 0, fmt.Errorf("%s: %w", argv[0], unix.Exec(argv[0], argv, os.Environ()))
	}
	return c.run(call.bundle, argv)
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

// argv is the call in the runtime's words. The groups of a step are ours, so runsc is told to leave them alone.
func (c Config) argv(k call) ([]string, error) {
	argv := []string{
		c.Runsc, "--root=" + c.State, "--platform=" + c.Platform, "--network=sandbox", "--overlay2=none", "--ignore-cgroups", k.command,
	}
	if c.Runc != "" {
		argv = []string{c.Runc, "--root=" + c.State, k.command}
	}
	switch k.command {
	case "run":
		argv = append(argv, "--bundle="+k.bundle)
		if c.Runc != "" {
			argv = append(argv, "--keep")
		}
	case "delete":
		argv = append(argv, "--force")
	case "kill", "state", "exec":
	default:
		return nil, fmt.Errorf("command %q: is not known; this version of BuildKit wants a newer runtime", k.command)
	}
	argv = append(argv, k.options...)
	return append(argv, k.words...), nil
}
