// Package task is the noun of wanted containers: it keeps, for each function, the inputs that wait and the containers that run them,
// decides how many containers there are to be, and hands inputs to those with room.
//
// The Scheduler is driven by events (an input came, an output came, a container became ready or ended, a worker joined or left, an idle
// container's time is up) and never polls. What it does with the outside goes through small ports: Worker starts containers, Sink takes
// outcomes, Functions, Images and Secrets say what to start. It keeps nothing durable: inputs are held by the caller (gateway/call) until
// they have an outcome.
package task

import (
	"context"
	"time"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Input is one input to run. The Scheduler owns it from Offer until its outcome has gone to the Sink.
type Input struct {
	Key      payload.Key
	Args     payload.Payload
	Method   string    // where the function is a class
	QueuedAt time.Time // when the input was accepted
	Behind   int       // how many inputs wait with the caller after it
	Attempt  uint32    // how often infrastructure has lost it
	Handle   any       // the caller's own, untouched; it may be a Withdrawer
	// ContainerID is the container that the input was given to last; set by the Scheduler, and not to be read before the outcome.
	ContainerID string
	Batch       uint32 // inputs of a container with the same number other than 0 are run together; set when it is sent

	container *Container
	cancelled bool
}

// Withdrawer is a Handle that knows of a cancellation which may have come before the Scheduler had the input.
type Withdrawer interface {
	// Withdrawn says whether the input has been cancelled. It does not block.
	Withdrawn() bool
}

// Outcome is how one input ended.
type Outcome struct {
	Input  *Input
	Result payload.Result
}

// Sink takes what becomes of inputs. Implemented by gateway/call.
type Sink interface {
	// Finished takes outcomes, each input's once. It may be called from many goroutines and must not call the Scheduler back
	// synchronously.
	Finished(functionID string, outcomes []Outcome)
	// Items takes items that the generator of an input yielded, in order and all before its outcome; first is the number of the first of
	// them, from 1. An input that is run again yields them again. It may block, which slows the container down.
	Items(functionID string, in *Input, first uint64, values []*payload.Payload)
}

// Spec is a container to start.
type Spec struct {
	ContainerID    string
	Function       *function.Function
	Image          Image
	SecretEnv      map[string]string            // not for logs
	Buckets        []function.BucketCredentials // of the definition's buckets, in their order; not for logs
	AppFunctionIDs map[string]string            // the app's functions by name
}

// Worker starts containers on one host. Implemented by gateway/workerlink.
type Worker interface {
	// Start asks for a container and returns at once; what becomes of it comes to events. Exited is called exactly once, whatever
	// happens, as the last event.
	Start(spec *Spec, events Events) Handle
}

// Handle controls one container. No method blocks, and all may be called after the container has ended.
type Handle interface {
	// Send queues inputs for the container.
	Send(inputs []*Input)
	// Cancel cancels inputs it was sent; each still gets an output.
	Cancel(keys []payload.Key)
	// Stop ends the container; with graceful it finishes the inputs that it has first.
	Stop(graceful bool)
}

// Events hears what happens to one container. Calls come from one goroutine at a time and in order.
type Events interface {
	// Ready says that the container takes inputs.
	Ready(phases []Phase)
	// Outputs hands over inputs that ended.
	Outputs(outputs []Output)
	// Returned gives back inputs that never began.
	Returned(keys []payload.Key)
	// Items hands over items of a generator.
	Items(key payload.Key, first uint64, values []*payload.Payload)
	// Slots says how many inputs the container takes at a time from now on; 0: no more, it ends when it has finished those it has.
	Slots(n int)
	// Exited says how the container ended.
	Exited(exit Exit)
}

// Phase is a part of a container's start.
type Phase struct {
	Name    string
	Elapsed time.Duration
}

// Output is the outcome of one input, from a container.
type Output struct {
	Key     payload.Key
	Result  payload.Result
	Elapsed time.Duration // how long it ran
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

// Exit is a container's end. Lost names the inputs whose outcome is unknown; where Everything is set it is unknown for all the container
// had.
type Exit struct {
	Reason     Reason
	Message    string
	Error      *payload.RemoteError
	Lost       []payload.Key
	Everything bool
	// Unlinked says that its worker's link has ended, or is about to: nothing can be started there any more.
	Unlinked bool
}

// Functions finds functions.
type Functions interface {
	// Function returns the current version of a function, or a fault.NotFound; functions of stopped apps are not found.
	Function(ctx context.Context, id string) (*function.Function, error)
	// AppFunctions returns the current functions of an app.
	AppFunctions(ctx context.Context, appID string) ([]*function.Function, error)
}

// Image is what a container needs to know of its image.
type Image struct {
	File    payload.Ref // EROFS
	Chunked bool        // File names a manifest
	Env     map[string]string
	Workdir string // may be empty
}

// Images finds built images.
type Images interface {
	// ContainerImage returns an image that has been built, or a fault.NotFound.
	ContainerImage(ctx context.Context, id string) (Image, error)
}

// Secrets opens secrets.
type Secrets interface {
	// SecretEnv returns the variables of secrets; a later one wins. It returns a fault.NotFound that names the one that is missing.
	SecretEnv(ctx context.Context, ids []string) (map[string]string, error)
}

// Notices tells users what happens to their functions, through the function's log.
type Notices interface {
	// Notice appends a line of Skerry's own to a function's log. It must not block for long.
	Notice(fn *function.Function, containerID, text string)
}

// Clock is time, for tests to hold in their hands.
type Clock interface {
	// Now returns the time.
	Now() time.Time
	// AfterFunc calls f in a goroutine of its own after d.
	AfterFunc(d time.Duration, f func()) Timer
}

// Timer is a call that AfterFunc has planned.
type Timer interface {
	// Stop prevents the call if it has not begun.
	Stop() bool
}

// Counts is a moment's view of work and containers.
type Counts struct {
	Backlog    int // inputs that wait for a container
	Containers int // that start or run
	Running    int // inputs in containers
	Headroom   int // inputs that the containers which run could take besides
}

// Info describes a container that starts or runs.
type Info struct {
	ID, Environment          string
	AppID, AppName           string
	FunctionID, FunctionName string
	WorkerID                 string // empty while it waits for room
	CreatedAt                time.Time
	ReadyAt                  time.Time // zero while it starts
	Running                  int       // inputs it has
}

// Identity says whose container a container is or was.
type Identity struct {
	AppID, AppName           string
	FunctionID, FunctionName string
	Environment              string
}

type realClock struct{}

func (realClock) Now() time.Time                            { return time.Now() }
func (realClock) AfterFunc(d time.Duration, f func()) Timer { return time.AfterFunc(d, f) }

// SystemClock is the clock of the machine.
var SystemClock Clock = realClock{}
