package runtime

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// Config says how steps are run. Command turns it into the arguments of Main.
type Config struct {
	// Runsc is the path of runsc; or Runc that of runc, with which steps are not isolated.
	Runsc, Runc string
	// State is the folder of the runtime's state.
	State string
	// Platform is runsc's platform; empty: DefaultPlatform.
	Platform string
	// Limits are those of one step.
	Limits Limits
	// Volumes is the socket of the desk that steps get their volumes of, see stepvolume; and Variable the variable with their tickets. Empty:
	// none have volumes.
	Volumes, Variable string
	// Mark begins the line that tells a verdict; whoever knows it can tell one. See Verdict.
	Mark string
}

// DefaultPlatform is the gVisor platform that works on every host.
const DefaultPlatform = "systrap"

// Limits are what one step may use; zero: no limit.
type Limits struct {
	// CPUMilli is the most CPU in thousandths of a core.
	CPUMilli uint32
	// MemoryBytes is the most memory of all its processes.
	MemoryBytes int64
	// Processes is how many processes and threads it may have on the host.
	Processes int64
	// DiskBytes is how much it may write to its file system.
	DiskBytes int64
	// Time is how long it may run.
	Time time.Duration
	// Cgroup is the name of the control group that those of the steps are below, such as "skerry_1f2e3d"; empty: none of these limits holds.
	Cgroup string
}

// GroupFolder is the folder in Limits.Cgroup that holds the groups of steps.
const GroupFolder = "build"

// Command returns the words before BuildKit's own of a call of Main.
func (c Config) Command() []string {
	var args []string
	word := func(name, value string) {
		if value != "" {
			args = append(args, "--"+name+"="+value)
		}
	}
	number := func(name string, value int64) {
		if value > 0 {
			word(name, fmt.Sprint(value))
		}
	}
	word("runsc", c.Runsc)
	word("runc", c.Runc)
	word("state", c.State)
	word("platform", c.Platform)
	number("cpu", int64(c.Limits.CPUMilli))
	number("memory", c.Limits.MemoryBytes)
	number("processes", c.Limits.Processes)
	number("disk", c.Limits.DiskBytes)
	if c.Limits.Time > 0 {
		word("time", c.Limits.Time.String())
	}
	word("cgroup", c.Limits.Cgroup)
	word("volumes", c.Volumes)
	word("variable", c.Variable)
	word("mark", c.Mark)
	return append(args, "--")
}

func parseConfig(args []string) (Config, []string, error) {
	var c Config
	var cpu uint
	f := flag.NewFlagSet("buildkit-runtime", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&c.Runsc, "runsc", "", "")
	f.StringVar(&c.Runc, "runc", "", "")
	f.StringVar(&c.State, "state", "", "")
	f.StringVar(&c.Platform, "platform", DefaultPlatform, "")
	f.UintVar(&cpu, "cpu", 0, "")
	f.Int64Var(&c.Limits.MemoryBytes, "memory", 0, "")
	f.Int64Var(&c.Limits.Processes, "processes", 0, "")
	f.Int64Var(&c.Limits.DiskBytes, "disk", 0, "")
	f.DurationVar(&c.Limits.Time, "time", 0, "")
	f.StringVar(&c.Limits.Cgroup, "cgroup", "", "")
	f.StringVar(&c.Volumes, "volumes", "", "")
	f.StringVar(&c.Variable, "variable", "", "")
	f.StringVar(&c.Mark, "mark", "", "")
	if err := f.Parse(args); err != nil {
		return c, nil, err
	}
	c.Limits.CPUMilli = uint32(cpu) //nolint:gosec // Command wrote it
	if !filepath.IsAbs(c.Runsc) && !filepath.IsAbs(c.Runc) || !filepath.IsAbs(c.State) {
		return c, nil, errors.New("--runsc or --runc, and --state: want absolute paths")
	}
	return c, f.Args(), nil
}
