package queue

import (
	"encoding/binary"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// AppendItems appends the bytes of items, as a log keeps them: format, length and data of each.
func AppendItems(b []byte, items []Item) []byte {
	for _, i := range items {
		b = append(b, byte(i.Format))
		b = binary.AppendUvarint(b, uint64(len(i.Data)))
		b = append(b, i.Data...)
	}
	return b
}

// ParseItems reads some of the items that AppendItems has written. Their data refers to b. Errors: fault.DataLoss.
func ParseItems(b []byte, from, to uint64) (items []Item, err error) {
	for n := uint64(0); n < to; n++ {
		if len(b) < 2 {
			return nil, fault.New(fault.DataLoss, "queue: stored items are damaged")
		}
		size, width := binary.Uvarint(b[1:])
		if width <= 0 || size > uint64(len(b)-1-width) {
			return nil, fault.New(fault.DataLoss, "queue: stored items are damaged")
		}
		start := 1 + width
		end := start + int(size) //nolint:gosec // at most len(b)
		if n >= from {
			items = append(items, Item{payload.Format(b[0]), b[start:end:end]})
		}
		b = b[end:]
	}
	return items, nil
}
