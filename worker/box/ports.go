package box

import (
	"context"
	"syscall"
	"time"

	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/snapshot"
)

// Machine is the gVisor sandbox of a box. Its methods are safe for concurrent use.
type Machine interface {
	container.Sandbox
	Parts
	// Nudge tells init that there is something to dial again. Errors: fault.Unavailable if the machine has ended.
	Nudge(ctx context.Context) error
	// Limit sets its weight and the most it may use, in thousandths of a core; 0: as it was booted. Errors: fault.Precondition if it has run into
	// a limit.
	Limit(cpuMilli, cpuLimitMilli uint32) error
	// SaveFiles takes the writable layer, with files of its own in dir. Errors: fault.Unavailable.
	SaveFiles(ctx context.Context, dir string) (snapshot.Layer, error)
	// Checkpoint writes all that runs in it to files in dir; with goOn it runs on, else it has ended. Errors: fault.Unavailable.
	Checkpoint(ctx context.Context, dir string, goOn bool) error
	// Mount shows an EROFS file at a folder of its root. Errors: fault.Unavailable.
	Mount(ctx context.Context, image, target string) error
}

// Parts are containers besides a machine's own.
type Parts interface {
	// Add starts a container and returns when its init has been started; what it takes of the parameters, gvisor.Sandbox says. Nothing is left
	// behind when it fails or ctx ends. Errors: fault.Unavailable if the machine has ended.
	Add(ctx context.Context, p container.SandboxParams) (Part, error)
	// Part is one that this process or an earlier one has added; nothing is checked.
	Part(id, name string) Part
}

// Part is a container besides a machine's own. Its methods are safe for concurrent use.
type Part interface {
	// Nudge tells its init that there is something to dial again. Errors: fault.NotFound if it has ended, fault.Unavailable if the machine has.
	Nudge(ctx context.Context) error
	// Wait returns nil when its init has ended or there is none. Errors: fault.Unavailable if the machine has ended.
	Wait(ctx context.Context) error
	// Delete kills it and removes all that belongs to it; the machine goes on.
	Delete(ctx context.Context) error
}

// Machines boots machines. Implemented by worker/gvisor through worker/agent.
type Machines interface {
	// Start boots a machine and returns when its init has been started. Nothing is left behind when it fails or ctx ends.
	Start(ctx context.Context, p container.SandboxParams) (Machine, error)
	// Restore is Start with what Checkpoint has written to a folder, of a machine that was made of the same.
	Restore(ctx context.Context, from string, p container.SandboxParams) (Machine, error)
	// Open finds a machine that was started with the folder dir and still runs. Errors: fault.NotFound if it has ended.
	Open(id, dir string) (Machine, error)
	// Remains tells what a machine that has ended has run out of, and what the runtime said when it crashed. It must not have been cleared away.
	Remains(id, dir string) (used container.Resource, crash string, err error)
}

// Rootfs also finds the files of boxes that an earlier process started.
type Rootfs interface {
	container.Rootfs
	// Adopt takes over what a box uses; nothing is fetched. Errors: fault.NotFound where it is no longer on this host.
	Adopt(ctx context.Context, image container.Image, mounts []container.Mount) (a container.Adopted, release func(), err error)
}

// Guest is the host's end of a link to a box's init. Every method of Processes and Settings returns fault.Unavailable when the link is lost.
type Guest interface {
	Processes
	Settings
	Mounts
	container.Inside
	// Done is closed when the link has ended.
	Done() <-chan struct{}
	// Close ends the link; the box goes on.
	Close() error
}

// Processes are the processes that the worker itself starts in a box.
type Processes interface {
	// StartMain starts the box's own command, MainProcess, in the environment and the directory of its identity, or finds it running. Errors:
	// fault.Invalid, fault.NotFound if there is no such program.
	StartMain(ctx context.Context, argv []string, terminal *container.Terminal) error
	// Wait waits for a process's end. Errors: fault.NotFound.
	Wait(ctx context.Context, processID string) (container.ProcessEnd, error)
	// Output calls f with what a process writes from the offsets on, until the end of both streams. Errors: f's, fault.NotFound, fault.Invalid.
	Output(ctx context.Context, processID string, from container.Offsets, f func(container.Chunk) error) error
	// Signal signals a process or its whole group. A process that has ended is no error. Errors: fault.NotFound.
	Signal(ctx context.Context, processID string, sig syscall.Signal, group bool) error
}

// MainProcess is the id of a box's own command among its processes.
const MainProcess = "main"

// Identity is what makes a box somebody's.
type Identity struct {
	ContainerID  string            // "sb-..."
	Hostname     string            // empty: as it is
	Env          map[string]string // the whole environment that processes begin with; not for logs
	Workdir      string            // where processes begin; made if it is missing
	Certificates string            // PEM of an authority that programs trust besides those of the image; empty: none
	Hosts        string            // lines for /etc/hosts besides its own
}

// Usage is what can be seen of a box's use from inside.
type Usage struct {
	DiskBytes, DiskLimitBytes uint64
	ReceivedBytes, SentBytes  uint64
	Processes                 uint32
}

// Probe asks whether a box is ready: something listens at TCPPort, or Argv exits with 0.
type Probe struct {
	TCPPort  uint32
	Argv     []string
	Interval time.Duration // 0: init's default
}

// Settings is what the worker sets and asks of a box itself.
type Settings interface {
	// Configure gives the box its identity. It may be repeated. Errors: fault.Invalid.
	Configure(ctx context.Context, id Identity) error
	// Trust has programs that begin from now on trust authorities (PEM), as those of the identity. Errors: fault.Invalid, fault.Unimplemented.
	Trust(ctx context.Context, certificates string) error
	// Seal keeps an environment for processes that name it. Errors: fault.Exhausted.
	Seal(ctx context.Context, environmentID string, variables map[string]string) error
	// AwaitReady returns when the probe has succeeded. Errors: fault.Invalid.
	AwaitReady(ctx context.Context, p Probe) error
	// WatchActivity calls f with how many processes of clients run, at once and at every change, until the link or ctx ends.
	WatchActivity(ctx context.Context, f func(processes int)) error
	// Usage says what the box uses.
	Usage(ctx context.Context) (Usage, error)
	// Quiesce prepares for a checkpoint: the link ends, and init dials again when it is nudged.
	Quiesce(ctx context.Context) error
}

// Mounts shows images in a box.
type Mounts interface {
	// PrepareMount makes a path, and a folder below /__skerry/mnt for the image that is to be shown there. Errors: fault.Invalid,
	// fault.Exhausted, fault.Precondition.
	PrepareMount(ctx context.Context, path string) (name string, err error)
	// Bind shows at a path what is in its folder, or for an empty name an empty folder, to which size bytes may be written. Errors:
	// fault.NotFound, fault.Precondition.
	Bind(ctx context.Context, name, path string, size uint64) error
	// Unbind takes it away. Errors: fault.NotFound, fault.Precondition.
	Unbind(ctx context.Context, path string) error
}
