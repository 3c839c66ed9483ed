package wire

import (
	"bufio"
	"encoding/binary"
	"io"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Kind says what a frame of the runner protocol is.
type Kind uint8

// The kinds, first those that the host sends, then the runner's.
const (
	Start       Kind = 1
	Input       Kind = 2
	InputData   Kind = 3
	Cancel      Kind = 4
	Stop        Kind = 5
	Withdraw    Kind = 6
	Batch       Kind = 7
	Ready       Kind = 16
	StartFailed Kind = 17
	Output      Kind = 18
	OutputData  Kind = 19
	Withdrawn   Kind = 20
	Item        Kind = 21
	Slots       Kind = 22
	Leaving     Kind = 23
)

// Limits of frames, in bytes. A reader refuses more before it allocates anything.
const (
	// MaxMeta is the largest meta of a frame.
	MaxMeta = 1 << 20
	// MaxData is the most data one frame carries.
	MaxData = 1 << 20
	// frameFixed is the kind and the length of meta, which the frame's length counts too.
	frameFixed = 5
	// MaxFrame is the largest length a frame may have.
	MaxFrame = frameFixed + MaxMeta + MaxData
)

// Frame is one message of the runner protocol: a kind, a JSON object, and bytes.
type Frame struct {
	Kind Kind
	Meta []byte
	Data []byte
}

// AppendFrame appends the frame's encoding to b. The frame must be within the limits.
func AppendFrame(b []byte, f Frame) []byte {
	return append(AppendHeader(b, f.Kind, f.Meta, len(f.Data)), f.Data...)
}

// AppendHeader appends the encoding of a frame up to its data, of which dataLen bytes follow.
func AppendHeader(b []byte, k Kind, meta []byte, dataLen int) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(frameFixed+len(meta)+dataLen)) //nolint:gosec // within the limits
	b = append(b, byte(k))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(meta))) //nolint:gosec // within the limits
	return append(b, meta...)
}

// FrameReader reads frames from a peer that is not trusted. It is for one goroutine.
type FrameReader struct{ r *bufio.Reader }

// NewFrameReader returns a reader of the frames that come from r.
func NewFrameReader(r io.Reader) *FrameReader {
	return &FrameReader{r: bufio.NewReaderSize(r, 64<<10)}
}

// Next returns the next frame; its slices are the caller's. At the end between two frames it returns io.EOF, within one
// io.ErrUnexpectedEOF. Errors: fault.Invalid for a frame that breaks the limits, and the reader's own.
func (f *FrameReader) Next() (Frame, error) {
	head, err := f.r.Peek(4 + frameFixed)
	if err != nil {
		if err == io.EOF && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	length, meta := binary.LittleEndian.Uint32(head), binary.LittleEndian.Uint32(head[5:])
	kind := Kind(head[4])
	if length < frameFixed || length > MaxFrame || meta > MaxMeta || meta > length-frameFixed || length-frameFixed-meta > MaxData {
		return Frame{}, fault.New(fault.Invalid, "frame of kind %d: length %d with meta of %d is over the limits", kind, length, meta)
	}
	if _, err := f.r.Discard(len(head)); err != nil {
		return Frame{}, err
	}
	body := make([]byte, length-frameFixed)
	if _, err := io.ReadFull(f.r, body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	return Frame{Kind: kind, Meta: body[:meta:meta], Data: body[meta:]}, nil
}

// Buffered says whether another whole frame has arrived, so that Next would not wait.
func (f *FrameReader) Buffered() bool {
	n := f.r.Buffered()
	if n < 4 {
		return false
	}
	head, err := f.r.Peek(4)
	return err == nil && uint64(n) >= 4+uint64(binary.LittleEndian.Uint32(head)) //nolint:gosec // n is positive
}

// StartMeta is the meta of Start. With HasSerialized, the function comes as data or, with BlobSize, in InputData frames.
type StartMeta struct {
	Module        string            `json:"module"`
	Qualname      string            `json:"qualname"`
	AppID         string            `json:"app_id"`
	AppName       string            `json:"app_name"`
	FunctionID    string            `json:"function_id"`
	FunctionName  string            `json:"function_name"`
	FunctionIDs   map[string]string `json:"function_ids"`
	Environment   string            `json:"environment"`
	ContainerID   string            `json:"container_id"`
	HasSerialized bool              `json:"has_serialized"`
	Class         *ClassMeta        `json:"class"`
	Generator     bool              `json:"generator"`
	MaxInputs     int               `json:"max_inputs"`
	Batched       bool              `json:"batched"`
	ModalNames    bool              `json:"modal_names"`
	Interactive   bool              `json:"interactive"`
	BlobSize      uint64            `json:"blob_size,omitempty"`
}

// ClassMeta says what to make an instance of the class with: parameters or, pickled, the arguments of its own constructor.
type ClassMeta struct {
	Methods     []MethodMeta    `json:"methods"`
	Parameters  []ParameterMeta `json:"parameters"`
	Constructor []byte          `json:"constructor"`
}

// MethodMeta is a remote method.
type MethodMeta struct {
	Name      string `json:"name"`
	Generator bool   `json:"generator"`
}

// ParameterMeta is a parameter; Type is a number of skerry.v1.ParameterType, and bytes are in base64.
type ParameterMeta struct {
	Name  string `json:"name"`
	Type  int    `json:"type"`
	Value any    `json:"value"`
}

// InputMeta is the meta of Input. The arguments come as data or, with BlobSize, in InputData frames.
type InputMeta struct {
	Call     string         `json:"call"`
	Index    uint32         `json:"index"`
	Format   payload.Format `json:"format"`
	Method   string         `json:"method,omitempty"`
	BlobSize uint64         `json:"blob_size,omitempty"`
}

// CancelMeta is the meta of Cancel, and names an input in WithdrawnMeta. Reason is "timeout" where the input has run too long.
type CancelMeta struct {
	Call   string `json:"call"`
	Index  uint32 `json:"index"`
	Reason string `json:"reason,omitempty"`
}

// BatchMeta is the meta of Batch: how many Inputs follow that are run together.
type BatchMeta struct {
	Count int `json:"count"`
}

// StopMeta is the meta of Stop. With Interrupt, what runs is interrupted.
type StopMeta struct {
	Interrupt bool `json:"interrupt"`
}

// ItemMeta is the meta of Item. Number counts the items of an input from 1. The item comes as data or, with BlobSize, in OutputData
// frames.
type ItemMeta struct {
	Call     string         `json:"call"`
	Index    uint32         `json:"index"`
	Number   uint64         `json:"number"`
	Format   payload.Format `json:"format"`
	BlobSize uint64         `json:"blob_size,omitempty"`
}

// SlotsMeta is the meta of Slots: how many inputs the runner takes at a time; 0: no more.
type SlotsMeta struct {
	Slots int `json:"slots"`
}

// OutputMeta is the meta of Output. The value, or the exception that an Error has, comes as data or, with BlobSize, in OutputData frames.
// Format is 0 when there is neither. ElapsedUS is how long the input ran, in microseconds; 0 when the runner does not say.
type OutputMeta struct {
	Call      string         `json:"call"`
	Index     uint32         `json:"index"`
	Status    payload.Status `json:"status"`
	ElapsedUS uint64         `json:"elapsed_us,omitempty"`
	Format    payload.Format `json:"format,omitempty"`
	BlobSize  uint64         `json:"blob_size,omitempty"`
	Items     *uint64        `json:"items,omitempty"` // of a generator that ended
	Error     *ErrorMeta     `json:"error,omitempty"`
}

// WithdrawnMeta is the meta of Withdrawn: the inputs that the runner had and will not run.
type WithdrawnMeta struct {
	Inputs []CancelMeta `json:"inputs"`
}

// StartFailedMeta is the meta of StartFailed; the exception comes as data. Format is 0 when there is none.
type StartFailedMeta struct {
	Format payload.Format `json:"format,omitempty"`
	Error  ErrorMeta      `json:"error"`
}

// ErrorMeta is an exception in words.
type ErrorMeta struct {
	Type      string `json:"type"`
	Message   string `json:"message"`
	Traceback string `json:"traceback"`
}
