package dict

import (
	"encoding/binary"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// entryVersion begins an entry: version, format of the key, key, request, value.
const entryVersion = 1

// Append appends the entry's bytes, as stores keep them.
func (e *Entry) Append(b []byte) []byte {
	b = append(b, entryVersion, byte(e.Key.Format))
	b = appendBytes(b, e.Key.Data)
	b = appendBytes(b, []byte(e.Request))
	return e.Value.Append(b)
}

// ParseEntry reads an entry from the front. What is in it refers to b. Errors: fault.DataLoss.
func ParseEntry(b []byte) (e Entry, rest []byte, err error) {
	damaged := fault.New(fault.DataLoss, "dict: a stored entry is damaged")
	if len(b) < 2 || b[0] != entryVersion {
		return e, nil, damaged
	}
	e.Key.Format = payload.Format(b[1])
	var ok bool
	if e.Key.Data, b, ok = cutBytes(b[2:]); !ok {
		return e, nil, damaged
	}
	request, b, ok := cutBytes(b)
	if !ok {
		return e, nil, damaged
	}
	e.Request = string(request)
	p, rest, err := payload.Parse(b)
	if err != nil {
		return e, nil, damaged
	}
	e.Value = *p
	return e, rest, nil
}

// AppendEntries appends the bytes of entries, one after the other.
func AppendEntries(b []byte, entries []Entry) []byte {
	for i := range entries {
		b = entries[i].Append(b)
	}
	return b
}

// ParseEntries reads all that AppendEntries has written. Errors: fault.DataLoss.
func ParseEntries(b []byte) (entries []Entry, err error) {
	for len(b) > 0 {
		e, rest, err := ParseEntry(b)
		if err != nil {
			return nil, err
		}
		entries, b = append(entries, e), rest
	}
	return entries, nil
}

func appendBytes(b, data []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(data))), data...)
}

func cutBytes(b []byte) (data, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	return b[size : size+int(n)], b[size+int(n):], true //nolint:gosec // at most len(b)
}
