// Package wire turns what Skerry's processes say to one another into the Go structs they work on, and back: conversions between the
// skerry.v1 messages and package payload, and the frames of the runner protocol (docs/runner-protocol.md).
package wire

import (
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Limits of what peers may send, in bytes.
const (
	// MaxErrorText bounds each of a RemoteError's type, message and traceback.
	MaxErrorText = 512 << 10
	// MaxCallID bounds a call's identifier.
	MaxCallID = 64
)

// RefToProto returns the message of a blob's name.
func RefToProto(r payload.Ref) *skerryv1.BlobRef {
	return &skerryv1.BlobRef{Digest: r.Digest, Size: r.Size}
}

// RefFromProto checks and returns a blob's name. Errors: fault.Invalid for a missing one, a malformed digest, or a size over
// payload.MaxSize.
func RefFromProto(m *skerryv1.BlobRef) (payload.Ref, error) {
	r, err := AnyRefFromProto(m)
	if err == nil && r.Size > payload.MaxSize {
		return payload.Ref{}, fault.New(fault.Invalid, "blob %s: %d bytes are over the limit of %d", r.Digest, r.Size, payload.MaxSize)
	}
	return r, err
}

// AnyRefFromProto is RefFromProto without the limit of size, for blobs that are not payloads: images, files.
func AnyRefFromProto(m *skerryv1.BlobRef) (payload.Ref, error) {
	if m == nil {
		return payload.Ref{}, fault.New(fault.Invalid, "blob: missing")
	}
	if err := ident.CheckDigest(m.GetDigest()); err != nil {
		return payload.Ref{}, err
	}
	return payload.Ref{Digest: m.GetDigest(), Size: m.GetSize()}, nil
}

// PayloadToProto returns the message of a payload; nil for nil. The bytes are shared, not copied.
func PayloadToProto(p *payload.Payload) *skerryv1.Payload {
	if p == nil {
		return nil
	}
	m := &skerryv1.Payload{Format: skerryv1.PayloadFormat(p.Format)}
	if p.Blob != nil {
		m.Content = &skerryv1.Payload_Blob{Blob: RefToProto(*p.Blob)}
	} else {
		m.Content = &skerryv1.Payload_Inline{Inline: p.Inline}
	}
	return m
}

// PayloadFromProto checks and returns a payload, sharing its bytes. Errors: fault.Invalid for a missing payload, an unknown format, no
// content, inline bytes over payload.MaxInline, or a bad blob. Callers for whom a payload is optional test for nil first.
func PayloadFromProto(m *skerryv1.Payload) (*payload.Payload, error) {
	if m == nil {
		return nil, fault.New(fault.Invalid, "payload: missing")
	}
	p := &payload.Payload{Format: payload.Format(m.GetFormat())}
	if p.Format != payload.Pickle && p.Format != payload.CBOR || int32(m.GetFormat()) > 255 {
		return nil, fault.New(fault.Invalid, "payload format %d: unknown; want pickle or CBOR", int32(m.GetFormat()))
	}
	switch c := m.GetContent().(type) {
	case *skerryv1.Payload_Inline:
		if len(c.Inline) > payload.MaxInline {
			return nil, fault.New(fault.Invalid, "payload: %d inline bytes are over the limit of %d; send a blob", len(c.Inline), payload.MaxInline)
		}
		p.Inline = c.Inline
	case *skerryv1.Payload_Blob:
		r, err := RefFromProto(c.Blob)
		if err != nil {
			return nil, err
		}
		p.Blob = &r
	default:
		return nil, fault.New(fault.Invalid, "payload: no content; want inline or blob")
	}
	return p, nil
}

// RemoteErrorToProto returns the message of an error; nil for nil.
func RemoteErrorToProto(e *payload.RemoteError) *skerryv1.RemoteError {
	if e == nil {
		return nil
	}
	return &skerryv1.RemoteError{
		Type: e.Type, Message: e.Message, Traceback: e.Traceback, Exception: PayloadToProto(e.Exception),
	}
}

// RemoteErrorFromProto checks and returns an error. Errors: fault.Invalid for a missing one, a text over MaxErrorText, or a bad
// exception payload.
func RemoteErrorFromProto(m *skerryv1.RemoteError) (*payload.RemoteError, error) {
	if m == nil {
		return nil, fault.New(fault.Invalid, "remote error: missing")
	}
	for _, s := range []string{m.GetType(), m.GetMessage(), m.GetTraceback()} {
		if len(s) > MaxErrorText {
			return nil, fault.New(fault.Invalid, "remote error: a text of %d bytes is over the limit of %d", len(s), MaxErrorText)
		}
	}
	e := &payload.RemoteError{Type: m.GetType(), Message: m.GetMessage(), Traceback: m.GetTraceback()}
	if m.GetException() != nil {
		p, err := PayloadFromProto(m.GetException())
		if err != nil {
			return nil, err
		}
		e.Exception = p
	}
	return e, nil
}

// ResultToProto returns the message of a result.
func ResultToProto(r payload.Result) *skerryv1.Result {
	return &skerryv1.Result{
		Status: skerryv1.ResultStatus(r.Status), Value: PayloadToProto(r.Value), Error: RemoteErrorToProto(r.Error), ItemsTotal: r.Items,
	}
}

// ResultFromProto checks and returns a result; a success without a value is that of a generator. Errors: fault.Invalid for a missing one,
// an unknown status, a success with an error, anything else with a value or without an error, or a bad part.
func ResultFromProto(m *skerryv1.Result) (payload.Result, error) {
	if m == nil {
		return payload.Result{}, fault.New(fault.Invalid, "result: missing")
	}
	s := m.GetStatus()
	if s < skerryv1.ResultStatus_RESULT_STATUS_SUCCESS || s > skerryv1.ResultStatus_RESULT_STATUS_OUT_OF_MEMORY {
		return payload.Result{}, fault.New(fault.Invalid, "result status %d: unknown", int32(s))
	}
	success := s == skerryv1.ResultStatus_RESULT_STATUS_SUCCESS
	if !success && m.GetValue() != nil || success == (m.GetError() != nil) {
		return payload.Result{}, fault.New(fault.Invalid, "result: want a value or a number of items on success, an error on everything else, never both")
	}
	r := payload.Result{Status: payload.Status(s)}
	var err error
	switch {
	case success && m.GetValue() == nil:
		r.Generated, r.Items = true, m.GetItemsTotal()
	case success:
		r.Value, err = PayloadFromProto(m.GetValue())
	default:
		r.Error, err = RemoteErrorFromProto(m.GetError())
	}
	if err != nil {
		return payload.Result{}, err
	}
	return r, nil
}

// KeyToProto returns the message of an input's name.
func KeyToProto(k payload.Key) *workerv1.InputKey {
	return &workerv1.InputKey{CallId: k.CallID, Index: k.Index}
}

// KeyFromProto checks and returns an input's name. Errors: fault.Invalid for a missing one or one without a call.
func KeyFromProto(m *workerv1.InputKey) (payload.Key, error) {
	if m.GetCallId() == "" || len(m.GetCallId()) > MaxCallID {
		return payload.Key{}, fault.New(fault.Invalid, "input key: want a call id of at most %d characters", MaxCallID)
	}
	return payload.Key{CallID: m.GetCallId(), Index: m.GetIndex()}, nil
}

// KeysToProto returns the messages of inputs' names.
func KeysToProto(keys []payload.Key) []*workerv1.InputKey {
	out := make([]*workerv1.InputKey, len(keys))
	for i, k := range keys {
		out[i] = KeyToProto(k)
	}
	return out
}

// KeysFromProto checks and returns inputs' names. Errors: those of KeyFromProto, for the first bad one.
func KeysFromProto(messages []*workerv1.InputKey) ([]payload.Key, error) {
	keys := make([]payload.Key, len(messages))
	for i, m := range messages {
		k, err := KeyFromProto(m)
		if err != nil {
			return nil, err
		}
		keys[i] = k
	}
	return keys, nil
}
