package container

import (
	"context"
	"net"
	"syscall"
)

// Bind is a file or folder of the host that a sandbox sees.
type Bind struct {
	Source, Target string
	Writable       bool
	Shared         bool // others than the container change it: what is known of it is looked up again
	Closes         bool // each close of a file in it is one of the source's, at once
}

// SandboxParams says what a sandbox is made of.
type SandboxParams struct {
	ID        string
	Name      string // of a container in its sandbox, where no other has it; a restore gives it the state of that name. Empty: "main"
	Dir       string // an empty folder for the runtime's own files; the caller removes it after Delete
	Image     string // path of the root's EROFS file
	DiskDir   string // folder that the file of the writable layer is kept in
	DiskMiB   uint32 // its size
	NetnsPath string
	Hostname  string
	Argv      []string // PID 1; it runs as root with an empty environment but for PATH, and /dev/null as its standard streams
	Binds     []Bind   // at least one

	CPUMilli, CPULimitMilli uint32 // weight, and the most; 0: no limit of its own
	MemoryLimitMiB          uint32 // 0: none of its own
}

// Sandboxes starts sandboxes. Implemented by worker/gvisor.
type Sandboxes interface {
	// Start boots a sandbox and returns when PID 1 has been started. When it fails, or ctx ends, nothing is left behind.
	Start(ctx context.Context, p SandboxParams) (Sandbox, error)
}

// Resource is what a sandbox can run out of.
type Resource uint8

// The resources.
const (
	Nothing      Resource = iota
	OwnMemory             // its limit was reached
	WorkerMemory          // the sum of all sandboxes reached what the worker offers, and the kernel chose this one
	Processes             // its processes and threads
)

// Sandbox is a booted sandbox. Its methods are safe for concurrent use.
type Sandbox interface {
	// Done is closed when the sandbox has ended, for whatever reason.
	Done() <-chan struct{}
	// Kill ends it and all in it at once; Done follows.
	Kill() error
	// UsedUp tells which of its limits it has run into, so that the kernel killed something of it. Only before Delete.
	UsedUp() (Resource, error)
	// Crash returns what the runtime itself said when it crashed, or "". Only before Delete.
	Crash() string
	// Delete kills it and removes all that belongs to it.
	Delete(ctx context.Context) error
}

// Process is a process to start in a container.
type Process struct {
	ID          string // unique in the container
	Argv        []string
	Env         map[string]string // the whole environment
	Workdir     string            // "/" if empty
	MakeWorkdir bool
	Terminal    *Terminal // nil: pipes
	Stdin       bool      // a pipe that Write feeds, else /dev/null
}

// Terminal is the size of a terminal.
type Terminal struct{ Rows, Cols uint32 }

// ProcessEnd says how a process ended: ExitCode if it exited, Signal if that ended it.
type ProcessEnd struct {
	ExitCode int
	Signal   syscall.Signal
}

// Chunk is some of what a process wrote. The dropped counts are bytes before it that are lost because nobody read them in time.
type Chunk struct {
	Stdout, Stderr               []byte
	StdoutDropped, StderrDropped uint64
}

// Guest is the host's end of a container's init. Implemented by worker/guest through worker/agent. Every method returns
// fault.Unavailable when the container is gone.
type Guest interface {
	Inside
	Feeds
	// Start starts a process. Errors: fault.Invalid, fault.NotFound if there is no such program, fault.Exists.
	Start(ctx context.Context, p Process) error
	// Wait waits for a process's end. Errors: fault.NotFound.
	Wait(ctx context.Context, processID string) (ProcessEnd, error)
	// Output calls f with all that a process writes, from its beginning, until the end of both streams. Errors: f's, fault.NotFound.
	Output(ctx context.Context, processID string, f func(Chunk) error) error
	// Signal signals a process or its whole group. A process that has ended is no error. Errors: fault.NotFound.
	Signal(ctx context.Context, processID string, sig syscall.Signal, group bool) error
	// Close ends the link.
	Close() error
}

// Feeds is what processes are given by hand.
type Feeds interface {
	// Write feeds the process's standard input, and closes it after that if eof. Errors: fault.NotFound, fault.Precondition.
	Write(ctx context.Context, processID string, data []byte, eof bool) error
	// Resize tells a terminal its new size. Errors: fault.NotFound, fault.Precondition if there is none.
	Resize(ctx context.Context, processID string, size Terminal) error
}

// RunnerParams is what a Runner needs besides its connection.
type RunnerParams struct {
	Spec   *Spec
	Signal func(sig int) error // signals the runner's process
	Events RunnerEvents
}

// Access lets code in containers call the gateway. Implemented by worker/gatewaylink.
type Access interface {
	// Serve takes connections of a container until ctx ends, and closes the listener.
	Serve(ctx context.Context, containerID string, ln net.Listener) error
}

// Dialects turns the connections that a container dials into the ends that speak on them.
type Dialects interface {
	// Guest begins to speak with init; it owns conn.
	Guest(conn net.Conn) (Guest, error)
	// Runner begins to speak with a runner; it owns conn.
	Runner(conn net.Conn, p RunnerParams) Runner
}
