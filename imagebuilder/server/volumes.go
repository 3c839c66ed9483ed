package server

import (
	"path/filepath"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/llb"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/internal/fault"
)

// volumesSocket is where the runtime asks for volumes of steps.
func (c Config) volumesSocket() string { return filepath.Join(c.RunDir, "step-volumes") }

// admit has the steps of a recipe get the volumes that they see, by what it adds to the secrets of the solve, until revoke is called. Errors:
// fault.Precondition where this builder has none.
func (s *Server) admit(r recipe.Recipe, secrets map[string][]byte) (revoke func(), err error) {
	var all []func()
	revoke = func() {
		for _, one := range all {
			one()
		}
	}
	for _, step := range r.Steps {
		if len(step.Volumes) == 0 {
			continue
		}
		if s.desk == nil {
			revoke()
			return nil, fault.New(fault.Precondition, "image step %d: this builder has no volumes: %s", step.Number, s.config.whyNoVolumes())
		}
		volumes := make([]build.Volume, 0, len(step.Volumes))
		for _, v := range step.Volumes {
			volumes = append(volumes, build.Volume(v))
		}
		ticket, one := s.desk.Admit(volumes)
		all = append(all, one)
		secrets[llb.VolumesSecret(step.Number, step.Volumes)] = []byte(ticket)
	}
	return revoke, nil
}

func (c Config) whyNoVolumes() string {
	if c.Buildkit != "" {
		return "its steps run in a buildkitd of its operator's (buildkit)"
	}
	return "its host has no FUSE"
}
