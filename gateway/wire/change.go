package wire

import (
	"github.com/skerry-dev/skerry/gateway/volume"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/voltree"
)

// Messages are those of a stream, one in hand at a time. A *connect.ClientStream is one.
type Messages[M any] interface {
	Receive() bool
	Msg() *M
	Err() error
}

// First returns the first message of a stream, which says what the stream is about. Errors: fault.Invalid where there is none.
func First[M any](stream Messages[M]) (*M, error) {
	if stream.Receive() {
		return stream.Msg(), nil
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	return nil, fault.New(fault.Invalid, "a request without messages")
}

// GatherChanges returns the changes of a stream, those of its message in hand among them. Errors: fault.Invalid, fault.Exhausted.
func GatherChanges[M any, P interface {
	*M
	GetChanges() []*skerryv1.VolumeChange
}](stream Messages[M]) ([]voltree.Change, error) {
	var gather volume.Gatherer
	for ok := true; ok; ok = stream.Receive() {
		changes, err := volumeChangesFromProto(P(stream.Msg()).GetChanges())
		if err == nil {
			err = gather.Add(changes)
		}
		if err != nil {
			return nil, err
		}
	}
	return gather.Changes, stream.Err()
}
