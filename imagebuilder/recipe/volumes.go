package recipe

import (
	"path"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// MaxVolumes is how many volumes a step sees at most.
const MaxVolumes = 100

// taken are folders of a step in which builders put something of theirs.
var taken = []string{"/__skerry", "/run/skerry"}

func (s *Step) validateVolumes() error {
	if len(s.Volumes) == 0 {
		return nil
	}
	switch s.Action.(type) {
	case *RunCommands, *RunFunction:
	default:
		return fault.New(fault.Invalid, "volumes: only steps that run commands or a function have them")
	}
	if len(s.Volumes) > MaxVolumes {
		return fault.New(fault.Invalid, "has %d volumes, at most %d are allowed", len(s.Volumes), MaxVolumes)
	}
	for i, v := range s.Volumes {
		if err := v.validate(); err != nil {
			return err
		}
		for _, o := range s.Volumes[:i] {
			if v.ID == o.ID {
				return fault.New(fault.Invalid, "volume %q: is mounted at %q and at %q; mount it once", v.ID, clip(o.Path), clip(v.Path))
			}
			if inside(v.Path, o.Path) || inside(o.Path, v.Path) {
				return fault.New(fault.Invalid, "volumes at %q and %q: one is in the other", clip(o.Path), clip(v.Path))
			}
		}
	}
	return nil
}

func (v *Volume) validate() error {
	if err := ident.Check(ident.Volume, v.ID); err != nil {
		return err
	}
	if err := validatePath("volume at", v.Path); err != nil {
		return err
	}
	if v.Path == "/" {
		return fault.New(fault.Invalid, "volume at \"/\": that path is not for volumes; choose another")
	}
	for _, dir := range taken {
		if inside(v.Path, dir) || inside(dir, v.Path) {
			return fault.New(fault.Invalid, "volume at %q: builds have something of theirs there; choose another path", clip(v.Path))
		}
	}
	if v.SubPath != "" && (v.SubPath != path.Clean(v.SubPath) && v.SubPath != path.Clean(v.SubPath)+"/" || strings.HasPrefix(v.SubPath, "..")) {
		return fault.New(fault.Invalid, "volume %q: sub_path %q: want a path within the volume", v.ID, clip(v.SubPath))
	}
	return validateText("sub_path", v.SubPath)
}

// inside says whether a path is a folder or in it.
func inside(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }
