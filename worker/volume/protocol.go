package volume

import "github.com/skerry-dev/skerry/worker/beside"

// protocol is what worker and process say to one another: its number changes with what it means.
const protocol = 1

// What the worker asks the process. Hello comes first and never changes.
const (
	opHello  = "hello"
	opMount  = "mount"  // a volume for a container that starts
	opAdopt  = "adopt"  // the volumes of a container that goes on
	opCommit = "commit" // what a container has written
	opReload = "reload" // and show it the newest version
	opEnd    = "end"    // a container that has ended: commit, and take its volumes down
	opSettle = "settle" // containers that this worker has neither mounted nor adopted volumes of have ended
	opStop   = "stop"   // end, if there is no volume, or whatever is not committed
)

// What the process asks the worker.
const (
	opBlob  = "blob"
	opAdd   = "add"   // a blob
	opOpen  = "open"  // a volume
	opHold  = "hold"  // versions
	opStage = "stage" // changes of a commit; the first begins it
	opApply = "apply" // a commit
)

// hello is what both sides say first.
type hello struct {
	Protocol int    `json:"protocol"`
	Release  string `json:"release"`
}

type blobArgs struct {
	Digest string `json:"digest"`
	Limit  int64  `json:"limit"`
}

// stopArgs says whether what is not committed is dropped.
type stopArgs struct {
	Drop bool `json:"drop,omitempty"`
}

type openArgs struct {
	VolumeID string `json:"volume"`
}

type holdArgs struct {
	Roots []string `json:"roots"`
}

// stageArgs is a part of a commit, whose changes are the data; the first part begins it anew.
type stageArgs struct {
	CommitParams
	First bool `json:"first"`
}

// ended is how the volumes of a container have ended.
type ended struct {
	// Pending is why something is not committed yet; the process goes on trying.
	Pending string `json:"pending,omitempty"`
	// Dropped is why something will never be: its volume is no more to be had.
	Dropped string `json:"dropped,omitempty"`
}

func asks(op string, args any) beside.Request { return beside.Request{Op: op, Args: args} }
