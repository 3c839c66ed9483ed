// Package payload holds serialised values and the outcomes of inputs, as the gateway and the worker pass them on. Neither looks inside.
package payload

// Limits of payloads.
const (
	// MaxInline is the largest payload carried in a message, in bytes; larger ones are blobs.
	MaxInline = 512 << 10
	// MaxSize is the largest payload at all, in bytes.
	MaxSize = 1 << 30
)

// Format says how the bytes of a Payload are encoded.
type Format uint8

// The formats; the numbers are those of skerry.v1.PayloadFormat.
const (
	Pickle Format = 1
	CBOR   Format = 2
)

// Ref names an immutable blob by content: "sha256:" and 64 hex digits, and its length in bytes.
type Ref struct {
	Digest string
	Size   uint64
}

// Payload is a serialised value: Inline bytes, or a Blob where there are more than MaxInline.
type Payload struct {
	Format Format
	Inline []byte
	Blob   *Ref
}

// Status says how an input ended.
type Status uint8

// The statuses; the numbers are those of skerry.v1.ResultStatus.
const (
	Success         Status = 1
	Failure         Status = 2
	Cancelled       Status = 3
	TimedOut        Status = 4
	StartFailure    Status = 5
	InternalFailure Status = 6
	OutOfMemory     Status = 7
)

// RemoteError is a failure in user code, as much of it as any language can show. Exception is the exception as the runner's language
// serialises it, or nil.
type RemoteError struct {
	Type, Message, Traceback string
	Exception                *Payload
}

// Result is the one terminal outcome of one input. On Success a Value is set or, for a generator that ended, Items: how many items it
// yielded (Generated is true then). On everything else Error is set.
type Result struct {
	Status    Status
	Value     *Payload
	Generated bool
	Items     uint64
	Error     *RemoteError
}

// Failed returns a Result of the status whose error has a message and no exception.
func Failed(s Status, message string) Result {
	return Result{Status: s, Error: &RemoteError{Message: message}}
}

// Key names one input: a call and the position in it.
type Key struct {
	CallID string
	Index  uint32
}
