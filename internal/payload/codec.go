package payload

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"strings"
)

// The compact form of payloads and results, for messages and database columns: a version byte, then fields in a fixed order, lengths as
// unsigned varints. Bytes are shared on parsing, not copied.

// codecVersion begins every Result; a reader refuses others.
const codecVersion = 1

// errMalformed says that bytes are not what Append wrote.
var errMalformed = errors.New("payload: malformed bytes; the message or record is damaged or of a newer release")

const (
	inlineContent = 0
	blobContent   = 1
)

const (
	hasValue     = 1 << 0
	hasError     = 1 << 1
	hasException = 1 << 2
	hasItems     = 1 << 3
)

const digestPrefix = "sha256:"

// Append appends the compact form of p to b. Digests must be well-formed.
func (p *Payload) Append(b []byte) []byte {
	b = append(b, byte(p.Format))
	if p.Blob != nil {
		b = append(b, blobContent)
		b = binary.AppendUvarint(b, p.Blob.Size)
		return appendText(b, strings.TrimPrefix(p.Blob.Digest, digestPrefix))
	}
	b = append(b, inlineContent)
	return appendText(b, string(p.Inline))
}

// Append appends the compact form of r to b.
func (r *Result) Append(b []byte) []byte {
	var flags byte
	if r.Value != nil {
		flags |= hasValue
	}
	if r.Error != nil {
		flags |= hasError
		if r.Error.Exception != nil {
			flags |= hasException
		}
	}
	if r.Generated {
		flags |= hasItems
	}
	b = append(b, codecVersion, byte(r.Status), flags)
	if r.Value != nil {
		b = r.Value.Append(b)
	}
	if e := r.Error; e != nil {
		b = appendText(appendText(appendText(b, e.Type), e.Message), e.Traceback)
		if e.Exception != nil {
			b = e.Exception.Append(b)
		}
	}
	if r.Generated {
		b = binary.AppendUvarint(b, r.Items)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Parse reads one payload from the front of b and returns what follows it.
func Parse(b []byte) (p *Payload, rest []byte, err error) {
	r := reader{b: b}
	p = r.payload()
	if r.failed {
		return nil, nil, errMalformed
	}
	return p, r.b, nil
}

// ParseResult reads a result that fills b.
func ParseResult(b []byte) (Result, error) {
	r := reader{b: b}
	if r.byte() != codecVersion {
		return Result{}, errMalformed
	}
	res := Result{Status: Status(r.byte())}
	flags := r.byte()
	if flags&hasValue != 0 {
		res.Value = r.payload()
	}
	if flags&hasError != 0 {
		res.Error = &RemoteError{Type: string(r.text()), Message: string(r.text()), Traceback: string(r.text())}
		if flags&hasException != 0 {
			res.Error.Exception = r.payload()
		}
	}
	if flags&hasItems != 0 {
		res.Generated, res.Items = true, r.uvarint()
	}
	if r.failed || len(r.b) != 0 || res.Status < Success || res.Status > OutOfMemory {
		return Result{}, errMalformed
	}
	return res, nil
}

// reader takes fields off the front of b; after the first that is not there, failed is set and all are zero.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.failed = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.failed, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) text() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) || n > math.MaxInt32 {
		r.failed, r.b = true, nil
		return nil
	}
	t := r.b[:n:n]
	r.b = r.b[n:]
	return t
}

func (r *reader) payload() *Payload {
	p := &Payload{Format: Format(r.byte())}
	switch r.byte() {
	case inlineContent:
		p.Inline = r.text()
	case blobContent:
		size, digest := r.uvarint(), string(r.text())
		if _, err := hex.DecodeString(digest); err != nil {
			r.failed = true
		}
		p.Blob = &Ref{Digest: digestPrefix + digest, Size: size}
	default:
		r.failed = true
	}
	return p
}
