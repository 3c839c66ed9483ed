package function

import (
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/voltree"
)

// maxVolumes is how many volumes a container may have.
const maxVolumes = 100

// VolumeMount puts a volume, or its folder SubPath, at a path of the container.
type VolumeMount struct {
	Path     string `json:"path"`
	VolumeID string `json:"volume_id"`
	ReadOnly bool   `json:"read_only,omitempty"`
	// SubPath is made where it is not there; empty: all of the volume.
	SubPath string `json:"sub_path,omitempty"`
}

// CheckVolumes returns a fault.Invalid for volumes that no container can have.
func CheckVolumes(mounts []VolumeMount) error {
	if len(mounts) > maxVolumes {
		return fault.New(fault.Invalid, "%d volumes, at most %d", len(mounts), maxVolumes)
	}
	for i, m := range mounts {
		if err := ident.Check(ident.Volume, m.VolumeID); err != nil {
			return err
		}
		if err := CheckVolumePath(m.Path); err != nil {
			return err
		}
		if _, err := voltree.Split(m.SubPath); err != nil {
			return fault.New(fault.Invalid, "volume %q: sub_path: %w", m.VolumeID, err)
		}
		for _, o := range mounts[:i] {
			if o.VolumeID == m.VolumeID {
				return fault.New(fault.Invalid, "volume %q: is mounted at %q and at %q; mount it once", m.VolumeID, o.Path, m.Path)
			}
			if o.Path == m.Path || strings.HasPrefix(m.Path, o.Path+"/") || strings.HasPrefix(o.Path, m.Path+"/") {
				return fault.New(fault.Invalid, "volumes at %.200q and %.200q: one is in the other", o.Path, m.Path)
			}
		}
	}
	return nil
}

// CheckVolumePath returns a fault.Invalid for a path of a container at which no volume can be.
func CheckVolumePath(p string) error {
	if err := CheckTarget(p); err != nil {
		return err
	}
	if p == "/root" || p == "/tmp" {
		return fault.New(fault.Invalid, "volume at %q: that path is not for volumes; choose another", p)
	}
	return nil
}
