package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/stepvolume"
	"github.com/skerry-dev/skerry/internal/fault"
)

// volumes puts the volumes of a step where it sees them, and holds them; nil where it has none. The ticket is taken out of its environment.
func (c Config) volumes(spec *specs.Spec) (*stepvolume.Held, error) {
	ticket := takeVariable(spec, c.Variable)
	if ticket == "" || c.Volumes == "" {
		return nil, nil //nolint:nilnil // most steps have none
	}
	held, err := stepvolume.Ask(context.Background(), c.Volumes, ticket)
	if err != nil {
		return nil, err
	}
	for i, b := range held.Binds {
		if err := put(spec, i, b); err != nil {
			return nil, errors.Join(err, held.End())
		}
	}
	return held, nil
}

// takeVariable takes a variable out of a container's environment and returns its last value, which is BuildKit's own where a step has set it.
func takeVariable(spec *specs.Spec, name string) (value string) {
	if name == "" || spec.Process == nil {
		return ""
	}
	spec.Process.Env = slices.DeleteFunc(spec.Process.Env, func(variable string) bool {
		v, is := strings.CutPrefix(variable, name+"=")
		if is {
			value = v
		}
		return is
	})
	return value
}

// put puts a volume at the place that the step's plan has kept for it. gVisor is told that others change what is there.
func put(spec *specs.Spec, n int, b build.Bind) error {
	at := slices.IndexFunc(spec.Mounts, func(m specs.Mount) bool { return m.Destination == b.Target && m.Type == "tmpfs" })
	if at < 0 {
		return fmt.Errorf("volume at %q: the step has no place for it", b.Target)
	}
	access := "rw"
	if b.ReadOnly {
		access = "ro"
	}
	spec.Mounts[at] = specs.Mount{
		Destination: b.Target, Type: "bind", Source: b.Source, Options: []string{"bind", "nosuid", "nodev", access},
	}
	if spec.Annotations == nil {
		spec.Annotations = map[string]string{}
	}
	hint := fmt.Sprintf("dev.gvisor.spec.mount.volume%d.", n)
	spec.Annotations[hint+"source"], spec.Annotations[hint+"type"], spec.Annotations[hint+"share"] = b.Source, "bind", "shared"
	spec.Annotations[hint+"options"] = access
	return nil
}

// withVolumes runs a step that has volumes, and has what it has written committed before it counts as done.
func (c Config) withVolumes(held *stepvolume.Held, run func(lost <-chan struct{}) (int, error)) (int, error) {
	if held == nil {
		return run(nil)
	}
	code, err := run(held.Lost())
	ended := held.End()
	if err != nil {
		return 0, errors.Join(err, ended)
	}
	if ended != nil {
		return c.refuse(ended), nil
	}
	return code, nil
}

// refuse says why a step can't have its volumes, and returns its exit code.
func (c Config) refuse(err error) int {
	c.tell(verdictOf(err))
	return failed
}

// verdictOf says of volumes that can't be had or committed whether another time they may.
func verdictOf(err error) string {
	text := "volumes of the step: " + strings.Join(strings.Fields(err.Error()), " ")
	if !errors.Is(err, fault.NotFound) && !errors.Is(err, fault.Precondition) {
		text = again + text
	}
	return text
}

// tell writes a verdict.
func (c Config) tell(text string) {
	if c.Mark != "" {
		_, _ = fmt.Fprintf(os.Stderr, "%s %s\n", c.Mark, text) // nobody to tell
	}
}
