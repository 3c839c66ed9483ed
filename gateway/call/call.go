// Package call is the noun of function calls: it accepts inputs from sessions of clients, keeps them safe until they have an output, has
// them run by gateway/task, and gives each output out exactly once.
//
// An input is named by (call, index), both chosen by the client. What happens to it, in order: it is checked; a SPAWN input is recorded
// in SQL (Records), which is its acknowledgement; it is put into the Flow; the flow delivers it to the Service, which offers it to the
// Dispatcher; its outcome is stored (in the flow for SYNC, in SQL for SPAWN; the first one wins); then the input is acknowledged to the
// flow; then the output goes to the sessions that wait. A crash between any two of these steps repeats the rest: executions happen at
// least once, results exactly once.
//
// An outcome that is user code's failure is not stored while the function's policy has retries left: the input is offered again after the
// policy's delay, and stays in hand meanwhile. What a generator yields is kept by gateway/item and reaches each session before the output.
// A SYNC call whose client has vanished is cancelled after VanishedAfter.
package call

import (
	"context"
	"time"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/lineage"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Bounds.
const (
	// MaxUnfinished is how many inputs of one SYNC call may be without an output at a time.
	MaxUnfinished = 1000
	// MaxIndex is the largest index of an input: there is always a next one.
	MaxIndex = 1<<32 - 2
	// MaxSubmit is how many inputs one Submit may have.
	MaxSubmit = 1000
	// MaxRecorded is the largest payload kept in a SQL record, in bytes; larger ones become blobs.
	MaxRecorded = 8 << 10
	// Retention is how long outputs of SPAWN calls are kept after the call has ended.
	Retention = 7 * 24 * time.Hour
)

// Kind says what the caller promises to do with a call; the numbers are those of skerry.v1.CallKind.
type Kind uint8

// The kinds.
const (
	Sync  Kind = 1 // the client waits and keeps the input until it has the output
	Spawn Kind = 2 // recorded before it is accepted; the client may go away
)

// Input is one invocation to run.
type Input struct {
	Key        payload.Key
	FunctionID string
	Kind       Kind
	Method     string // where the function is a class
	Args       payload.Payload
}

// Output is the outcome of one input.
type Output struct {
	Key         payload.Key
	Result      payload.Result
	ContainerID string // that it ran in; empty: in none, or not known. Records keep it, the flow does not
	Place       uint64 // in the flow, growing; 0: it is not there, or not known
}

// Submit is a batch of inputs of one call, from a session.
type Submit struct {
	CallID, FunctionID string
	Kind               Kind
	Inputs             []Item
	Resumed            bool              // may have been sent before
	ParentInputID      string            // empty: none
	Seen               map[uint32]uint64 // by index, how many items of a generator the client has
}

// Item is one input of a Submit.
type Item struct {
	Index  uint32
	Method string
	Args   payload.Payload
}

// Watch asks for the outputs of a call from an index on, but for those seen.
type Watch struct {
	CallID    string
	FromIndex uint32
	Seen      []uint32
}

// State says where a call stands.
type State struct {
	CallID                 string
	NumInputs, NumFinished uint32
	Expired                bool
	FunctionID, AppID      string
	CreatedAt              time.Time
}

// Delivery is an input that the flow hands out.
type Delivery struct {
	Input
	Sequence uint64    // its place in the flow
	StoredAt time.Time // when it was put
	Behind   int       // how many wait in the flow after it
	Earlier  bool      // it was there when the flow was opened, and may have an output
	Again    bool      // it has been delivered before
	Ticket   Ticket
}

// Ticket stands for a delivered input. No method blocks; what is lost on the way is delivered again after a restart.
type Ticket interface {
	// Ack says that the output is stored: the input goes.
	Ack()
	// Working says that the input is still in hand, at least every 20 seconds.
	Working()
}

// Subscription is the stream of deliveries of one function.
type Subscription interface {
	// Pending returns about how many inputs of the function wait in the flow, undelivered.
	Pending() int
	// Close ends the deliveries; what was not acknowledged is delivered to the next subscription.
	Close() error
}

// Flow keeps inputs until they are acknowledged. Implemented by gateway/jetstream.
type Flow interface {
	// PutInputs stores inputs and calls done, from a goroutine of the flow's, when the fate of all is known: errs is nil if all are
	// stored, else errs[i] is nil, a fault.Exists if the input is there already, or what went wrong. It blocks only while too much
	// is on its way.
	PutInputs(inputs []Input, done func(errs []error))
	// Subscribe delivers the function's inputs to deliver, those there are and those to come, in order. Deliver is called from one
	// goroutine and may block; at most a bounded number is read ahead.
	Subscribe(ctx context.Context, functionID string, deliver func(Delivery)) (Subscription, error)
	// Waiting returns which functions have inputs in the flow, with how many: of one function or (functionID empty) all.
	Waiting(ctx context.Context, functionID string) (map[string]int, error)
	// PurgeCall removes the inputs of a call, delivered or not; PurgeFunction those of a function.
	PurgeCall(ctx context.Context, callID string) error
	PurgeFunction(ctx context.Context, functionID string) error
}

// Outputs keeps outputs of SYNC calls for a while. Implemented by gateway/jetstream.
type Outputs interface {
	// PutOutputs stores outputs, as PutInputs does inputs, and sets the Place of those that are stored; fault.Exists says that the input has an output already.
	PutOutputs(outputs []Output, done func(errs []error))
	// Output returns the stored output of an input, or a fault.NotFound.
	Output(ctx context.Context, key payload.Key) (Output, error)
	// PurgeOutputs removes the stored outputs of a call with places before one, or (0) all.
	PurgeOutputs(ctx context.Context, callID string, before uint64) error
}

// Record is what SQL keeps of a SPAWN call.
type Record struct {
	CallID, FunctionID, AppID string
	FunctionName              string
	ParentInputID             string
	CreatedAt                 time.Time
}

// Records keeps SPAWN calls. Implemented by gateway/sqlstore. Every method's effect is on disk when it returns.
type Records interface {
	// Accept records inputs of calls, making the calls that are new. Inputs that are there already stay as they are.
	Accept(ctx context.Context, batch []Accept) error
	// Finish stores outputs, of a time, of inputs that have none; outputs of others, or of inputs that are not there, are dropped.
	Finish(ctx context.Context, at time.Time, outputs []Output) error
	// Get describes a call, or returns a fault.NotFound.
	Get(ctx context.Context, callID string) (State, error)
	// Outputs returns up to limit outputs of a call from an index on, in order of the index.
	Outputs(ctx context.Context, callID string, from uint32, limit int) ([]Output, error)
	// Pending returns up to limit inputs without output, of a call or (callID empty) of all, that come after a key in the order of
	// call and index.
	Pending(ctx context.Context, callID string, after payload.Key, limit int) ([]Input, error)
	// PendingFrom returns up to limit inputs without output of one call, from an index on.
	PendingFrom(ctx context.Context, from payload.Key, limit int) ([]Input, error)
	// PendingOfApp returns the calls of an app with inputs that have no output.
	PendingOfApp(ctx context.Context, appID string) ([]string, error)
}

// Expiry forgets SPAWN calls. Implemented by gateway/sqlstore.
type Expiry interface {
	// Expire deletes the outputs of calls that ended before a time, and remembers that they are expired. It goes step by step, so that
	// others can write meanwhile.
	Expire(ctx context.Context, before time.Time) error
}

// Lineage finds what SPAWN calls are made of. Implemented by gateway/sqlstore.
type Lineage interface {
	// CallNodes returns up to limit inputs of a SPAWN call, by index; none if there is no such call.
	CallNodes(ctx context.Context, callID string, limit int) ([]lineage.Node, error)
	// ChildNodes returns up to limit inputs of the SPAWN calls that inputs of a call have made, call by call.
	ChildNodes(ctx context.Context, callID string, limit int) ([]lineage.Node, error)
}

// Accept is what Records.Accept takes: a call and inputs of it.
type Accept struct {
	Record
	Inputs []Input
}

// Blobs keeps payloads that are too large for where they would be.
type Blobs interface {
	// PutBlob stores bytes and returns their name.
	PutBlob(ctx context.Context, data []byte) (payload.Ref, error)
	// HasBlob says whether a blob is there.
	HasBlob(ctx context.Context, digest string) (bool, error)
}

// Dispatcher has inputs run. Implemented by task.Scheduler.
type Dispatcher interface {
	// Function returns a function that inputs may be sent to, or a fault.NotFound.
	Function(ctx context.Context, id string) (*function.Function, error)
	// Offer hands inputs over; it blocks while the function's queue is full, until ctx ends.
	Offer(ctx context.Context, functionID string, in *task.Input) error
	// Cancel cancels inputs that were offered; each gets its outcome, which is Cancelled unless it has just ended.
	Cancel(functionID string, keys []payload.Key)
	// Terminate stops the containers that run inputs of a call.
	Terminate(callID string)
	// Holders returns the containers that run inputs of a call, by index.
	Holders(callID string) map[uint32]string
	// ForgetIdle forgets functions that have not been asked for since it was called last and have nothing to run, but for those that are
	// kept. They are found again when they are asked for.
	ForgetIdle(keep map[string]bool)
	// StopApp stops an app's containers and returns its functions that were in use; they take no more inputs.
	StopApp(appID string) (functionIDs []string)
}

var _ Dispatcher = (*task.Scheduler)(nil)
