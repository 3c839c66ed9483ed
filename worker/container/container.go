// Package container is the worker's noun: one gVisor sandbox that runs one function for one tenant, from its start to its end.
package container

import (
	"context"
	"io"
	"time"

	"github.com/skerry-dev/skerry/internal/payload"
)

// Spec is a container to start, as the gateway asked for it.
type Spec struct {
	ID                       string // "ta-..."
	AppID, AppName           string
	FunctionID, FunctionName string
	Environment              string
	Module, Qualname         string
	Serialized               *payload.Payload
	AppFunctionIDs           map[string]string // the app's functions by name

	ImageID      string // "im-..."
	Image        Image
	ImageEnv     map[string]string
	ImageWorkdir string
	SecretEnv    map[string]string // not for logs
	Mounts       []Mount
	Volumes      []VolumeMount
	Buckets      []BucketMount

	CPUMilli, CPULimitMilli   uint32
	MemoryMiB, MemoryLimitMiB uint32
	EphemeralDiskMiB          uint32
	BlockNetwork              bool
	Timeout, StartupTimeout   time.Duration
	PythonVersion             string // series of the caller, such as "3.11"

	Class          *Class // nil: a function
	Generator      bool
	Slots          int  // inputs, or batches, at a time; 0: 1
	Batched        bool // inputs are run together
	RestrictAccess bool // no socket to the gateway
	ModalNames     bool
	Interactive    bool
	Labels         map[string]string // of the worker
}

// Image is the file of a root file system.
type Image struct {
	payload.Ref      // digest and size of the EROFS file, or the digest of its manifest
	Chunked     bool // there is a manifest (internal/cas)
}

// Class says what to make an instance of the class with.
type Class struct {
	Methods     []Method
	Parameters  []Parameter
	Constructor []byte // pickled (args, kwargs) of a constructor of its own
}

// Method is a remote method.
type Method struct {
	Name      string
	Generator bool
}

// Parameter is the value of a parameter; Type is a number of skerry.v1.ParameterType, and Value a string, an int64, bytes or a bool.
type Parameter struct {
	Name  string
	Type  int
	Value any
}

// Mount is a tree of local code at a path.
type Mount struct{ RemotePath, TreeDigest string }

// Input is one input to run.
type Input struct {
	Key     payload.Key
	Args    payload.Payload
	Attempt uint32
	Method  string
	Batch   uint32 // inputs with the same number other than 0, one behind the other, are run together
}

// Output is the outcome of one input.
type Output struct {
	Key     payload.Key
	Result  payload.Result
	Elapsed time.Duration
}

// Reason says why a container ended; the numbers are those of skerry.worker.v1.ExitReason.
type Reason uint8

// The reasons.
const (
	Stopped      Reason = 1
	StartFailed  Reason = 2
	RunnerExited Reason = 3
	OutOfMemory  Reason = 4
	TimedOut     Reason = 5
	Lost         Reason = 6
	NotStarted   Reason = 7
)

// Exit is a container's end. Lost lists inputs whose outcome is unknown and that are to be run again.
type Exit struct {
	Reason  Reason
	Message string
	Error   *payload.RemoteError
	Lost    []payload.Key
}

// Phase is a part of a container's start.
type Phase struct {
	Name    string // network, rootfs, sandbox, init, import
	Elapsed time.Duration
}

// Events is who hears what happens to a container. Calls come from one goroutine at a time and in order; they must not block for long.
type Events interface {
	// Ready says that inputs are taken.
	Ready(phases []Phase)
	// Outputs hands over inputs that ended.
	Outputs(outputs []Output)
	// Returned gives back inputs that never began.
	Returned(keys []payload.Key)
	// Items hands over items of a generator, the first of which has a number.
	Items(key payload.Key, first uint64, values []*payload.Payload)
	// Slots says how many inputs the container takes at a time from now on; 0: no more.
	Slots(n int)
}

// LogEntry is one line with its end, or a piece of one.
type LogEntry struct {
	At     time.Time
	Stderr bool
	Text   []byte
	// System says that the text is not the container's own, but about it.
	System bool
	// Input is the one that wrote it, as far as that is known.
	Input payload.Key
	// WantsTerminal is a socket in the container that waits for a terminal; there is no text then.
	WantsTerminal string
	// After is where the streams of the process stand after it, for a Journal.
	After Offsets
}

// Offsets are places in the two streams of a process, in bytes from its start.
type Offsets struct{ Stdout, Stderr uint64 }

// Frame is some output of a container that goes to the gateway as one piece, which keeps it once however often it comes. Sequences of a
// container count from 1.
type Frame struct {
	Sequence uint64
	After    Offsets // where the streams stand after it
}

// Journal remembers, beyond the life of the worker's process, how the output of a container was cut into frames, so that what is sent again is
// what was sent before.
type Journal interface {
	// Sealed notes a frame that is about to be sent for the first time. The frame is not sent if that fails.
	Sealed(f Frame) error
	// Acknowledged notes that the gateway has all frames up to a sequence.
	Acknowledged(sequence uint64) error
}

// Source is a container whose frames are noted in a journal.
type Source struct {
	ID      string
	Sandbox string // that it is a further container of; else empty
	Journal Journal
	Last    uint64 // sequence of its last frame; they are numbered from the one after it
}

// JournaledSink is a LogSink that works with journals.
type JournaledSink interface {
	LogSink
	// Keep has frames of a container noted in a journal. It comes before the first Write.
	Keep(s Source)
	// Again takes a frame that an earlier process of the worker has sealed.
	Again(containerID string, f Frame, entries []LogEntry)
}

// LogSink takes what containers write. Write copies the text; it blocks while the sink is full, which slows the container's reader down,
// and in the end the container.
type LogSink interface {
	// Write takes an entry.
	Write(containerID string, e LogEntry)
	// EOF says that nothing more comes from the container.
	EOF(containerID string)
}

// Blobs is where large payloads come from and go to.
type Blobs interface {
	// Open streams a blob. Errors: fault.NotFound, fault.DataLoss at the read that finds it.
	Open(ctx context.Context, ref payload.Ref) (io.ReadCloser, error)
	// Create takes a blob whose digest is not known yet; see BlobWriter.
	Create(ctx context.Context) (BlobWriter, error)
}

// BlobWriter takes the bytes of one blob. Exactly one of Commit and Abort is called.
type BlobWriter interface {
	io.Writer
	// Commit stores the blob and returns its name.
	Commit() (payload.Ref, error)
	// Abort forgets it.
	Abort()
}

// Runner is the host's end of the language runner inside a container. Implemented by worker/runner.
type Runner interface {
	// Submit queues inputs; the runner works on them one at a time and in order.
	Submit(inputs []Input)
	// Cancel cancels inputs, queued or with the runner; each gets a Cancelled output.
	Cancel(keys []payload.Key)
	// Interrupt has the runner end: what runs is interrupted and gets no output.
	Interrupt()
	// TakeQueued removes and returns inputs that the runner does not have.
	TakeQueued() []payload.Key
	// Running returns the inputs that the runner has and that have no output. One has begun; of several, each may have.
	Running() []payload.Key
	// Run speaks with the runner until ctx or the connection ends. It returns nil when the runner closed in good order.
	Run(ctx context.Context) error
}

// RunnerEvents is who hears the runner. Calls come from one goroutine at a time and in order.
type RunnerEvents interface {
	// Ready says that user code is loaded.
	Ready()
	// StartFailed says that it could not be loaded.
	StartFailed(err payload.RemoteError)
	// Outputs hands over inputs that ended.
	Outputs(outputs []Output)
	// Returned gives back inputs that waited too long behind a slow one.
	Returned(keys []payload.Key)
	// Items hands over items of a generator.
	Items(key payload.Key, first uint64, values []*payload.Payload)
	// Slots says how many inputs the runner takes at a time from now on; 0: no more.
	Slots(n int)
	// Ending says that the runner is of no more use.
	Ending(why Ending)
}

// Ending says why a runner is of no more use.
type Ending uint8

const (
	// Overran says that an input ran past its timeout, or went on after it was cancelled. Its output has been handed over, unless it is not known
	// which of those that the runner has it is. The container is to be ended.
	Overran Ending = iota + 1
	// Leaving says that it was interrupted, by the host or by its code, and ends. What it has will get no output; its exit hooks run.
	Leaving
)

// Endpoint is one container's place on a network. Implemented by worker/network.
type Endpoint struct {
	NetnsPath  string // of the namespace, for the OCI spec
	Address    string // the container's IPv4 address
	Nameserver string // for /etc/resolv.conf
	Interface  string // name of the host's end, for rules and tests
}

// Network hands out endpoints.
type Network interface {
	// Acquire takes an endpoint; block gives one without any route out.
	Acquire(ctx context.Context, containerID string, block bool) (*Endpoint, error)
	// Release removes it with all that belongs to it. Endpoints serve one container once.
	Release(e *Endpoint) error
}

// Adopted is where the files are of a sandbox that an earlier process started.
type Adopted struct {
	Image string // path of its EROFS file
	Binds []Bind
}

// Rootfs provides files of images and mounts on this host.
type Rootfs interface {
	// Image returns the path of an image's EROFS file, fetching it first if need be. The path stays valid until release is called.
	Image(ctx context.Context, image Image) (path string, release func(), err error)
	// Mounts returns where trees of files are on this host, read-only, fetching what is missing. Mounts that overlap are merged into one
	// tree, in which a later mount wins, so that no target is below another. The paths stay valid until release is called.
	Mounts(ctx context.Context, mounts []Mount) (binds []Bind, release func(), err error)
}
