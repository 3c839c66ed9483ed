package wire

import (
	"github.com/skerry-dev/skerry/gateway/function"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
)

// VolumeMountsToProto returns the messages of volumes that are mounted.
func VolumeMountsToProto(mounts []function.VolumeMount) []*skerryv1.VolumeMount {
	out := make([]*skerryv1.VolumeMount, 0, len(mounts))
	for _, m := range mounts {
		out = append(out, &skerryv1.VolumeMount{MountPath: m.Path, VolumeId: m.VolumeID, ReadOnly: m.ReadOnly, SubPath: m.SubPath})
	}
	return out
}

// VolumeMountsFromProto returns volumes that are to be mounted. They are not checked yet.
func VolumeMountsFromProto(messages []*skerryv1.VolumeMount) []function.VolumeMount {
	var out []function.VolumeMount
	for _, m := range messages {
		out = append(out, function.VolumeMount{
			Path: m.GetMountPath(), VolumeID: m.GetVolumeId(), ReadOnly: m.GetReadOnly(), SubPath: m.GetSubPath(),
		})
	}
	return out
}
