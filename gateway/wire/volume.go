package wire

import (
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/voltree"
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

// VolumeEntryToProto returns the message of an entry at a path, without content.
func VolumeEntryToProto(path string, e *voltree.Entry) *skerryv1.VolumeEntry {
	return &skerryv1.VolumeEntry{
		Path: path, Type: skerryv1.VolumeEntryType(e.Type), Mode: e.Mode, Uid: e.UID, Gid: e.GID,
		ModifiedAt: timestamppb.New(time.Unix(0, e.Modified)), Size: e.Size, Target: e.Target, Inode: e.Inode,
	}
}

// maxBatch is how many changes a message has at most.
const maxBatch = 10_000

// volumeChangesFromProto returns changes, which whoever applies them checks. Errors: fault.Invalid.
func volumeChangesFromProto(messages []*skerryv1.VolumeChange) ([]voltree.Change, error) {
	if len(messages) > maxBatch {
		return nil, fault.New(fault.Invalid, "%d changes in a message, at most %d", len(messages), maxBatch)
	}
	out := make([]voltree.Change, 0, len(messages))
	for _, m := range messages {
		var c voltree.Change
		switch k := m.GetKind().(type) {
		case *skerryv1.VolumeChange_Put:
			e, err := volumeEntryFromProto(k.Put.GetEntry())
			if err != nil {
				return nil, err
			}
			c = voltree.Change{Verb: voltree.Put, Path: k.Put.GetEntry().GetPath(), Entry: e, MustBeNew: k.Put.GetMustBeNew()}
		case *skerryv1.VolumeChange_Remove:
			c = voltree.Change{Verb: voltree.Remove, Path: k.Remove.GetPath(), Recursive: k.Remove.GetRecursive(), MissingOK: k.Remove.GetMissingOk()}
		case *skerryv1.VolumeChange_Copy:
			c = voltree.Change{Verb: voltree.Copy, Path: k.Copy.GetSource(), To: k.Copy.GetDestination(), Recursive: k.Copy.GetRecursive()}
		case *skerryv1.VolumeChange_Move:
			c = voltree.Change{Verb: voltree.Move, Path: k.Move.GetSource(), To: k.Move.GetDestination()}
		default:
			return nil, fault.New(fault.Invalid, "a change that is not known; the client may be newer than the gateway")
		}
		out = append(out, c)
	}
	return out, nil
}

func volumeEntryFromProto(m *skerryv1.VolumeEntry) (voltree.Entry, error) {
	e := voltree.Entry{
		Type: voltree.Type(Byte(m.GetType())), Mode: m.GetMode(), UID: m.GetUid(), GID: m.GetGid(), Size: m.GetSize(), Target: m.GetTarget(),
		Inode: m.GetInode(),
		Content: voltree.Content{
			Digest: m.GetContent().GetDigest(), Offset: m.GetContent().GetOffset(), Chunked: m.GetContent().GetChunked(),
		},
	}
	if at := m.GetModifiedAt(); at != nil {
		// What nanoseconds since 1970 can say in 64 bits: the years 1678 to 2261.
		if at.CheckValid() != nil || at.GetSeconds() > math.MaxInt64/int64(time.Second)-1 || at.GetSeconds() < math.MinInt64/int64(time.Second)+1 {
			return e, fault.New(fault.Invalid, "%.200q: its time is not between the years 1678 and 2261", m.GetPath())
		}
		e.Modified = at.AsTime().UnixNano()
	}
	return e, nil
}
