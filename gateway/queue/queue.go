// Package queue is the noun of items that are taken in the order in which they were put, in partitions that are queues of their own.
//
// What happens to a partition is a log: records of items that were put, and of how many were taken, each whole in one message. Where the
// front and the end are is memory, made from the log when a partition is first used. A record is decided on in memory, written, and answered
// once it is written; so the next one need not wait for it. Records of items that are gone stay for a while: who asks again because
// an answer was lost gets the same one.
package queue

import (
	"context"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Limits of queues.
const (
	// MaxItem is the largest item in bytes.
	MaxItem = 1 << 20
	// MaxItems is how many items a partition holds.
	MaxItems = 5000
	// MaxBytes bounds the items of one request.
	MaxBytes = 32 << 20
	// MaxPartitions is how many partitions of a queue may have items.
	MaxPartitions = 100_000
	// MaxPartitionKey is the longest key of a partition in bytes.
	MaxPartitionKey = 64
	// MaxTTL and DefaultTTL are how long a partition lives after the last put.
	MaxTTL     = 7 * 24 * time.Hour
	DefaultTTL = 24 * time.Hour
	// MaxWait bounds how long one request waits.
	MaxWait = time.Minute
)

// What a partition keeps of items that are gone, for requests that are done again.
const (
	keepRecords = 4096
	keepBytes   = 64 << 20
	keepFor     = 10 * time.Minute
)

// Item is a serialised value.
type Item struct {
	Format payload.Format
	Data   []byte
}

// Kind says what a record is of.
type Kind uint8

// The kinds of records. The numbers are in the log.
const (
	Put   Kind = 1
	Take  Kind = 2
	Clear Kind = 3
	// Return undoes a Take of the same request and items: nobody has got them.
	Return Kind = 4
	// ClearAll removes all items of all partitions whose records have places before its own.
	ClearAll Kind = 5
)

// Record is one change of a partition.
type Record struct {
	QueueID, Partition string
	Kind               Kind
	// Request is the id of the request; empty: nobody asks for it again.
	Request string
	// First and Count are the numbers of the items that it brings or takes. Numbers grow, and are not used again.
	First, Count uint64
	// Length is how many items there are after it, and Expires when they go.
	Length  int
	Expires time.Time
	// Size is that of all items in bytes.
	Size int
	// Body is the items, of a record that is to be written, unless they are a Blob.
	Body []byte
	Blob *payload.Ref
	// Place is where the log has it, and At since when.
	Place uint64
	At    time.Time
}

// Log keeps records.
type Log interface {
	// Append writes a record after all those of its partition that were given before. After is the place of the partition's last record, or of the
	// queue's for ClearAll, where that is known: another one there is a fault.Exists. It may block while too much is on its way. done must not block.
	Append(r *Record, after *uint64, done func(place uint64, err error))
	// Newest hands over the newest record of each partition of a queue, without bodies, and its newest ClearAll; queueID empty: of all queues.
	Newest(ctx context.Context, queueID string, f func(*Record) error) error
	// Records hands over the records of a partition, oldest first, without bodies.
	Records(ctx context.Context, queueID, partition string, f func(*Record) error) error
	// Body returns the body of the record at a place, or a fault.NotFound.
	Body(ctx context.Context, place uint64) ([]byte, error)
	// Trim removes the records of a partition before a place.
	Trim(ctx context.Context, queueID, partition string, before uint64) error
	// Purge removes all records of a queue before a place; 0: all there are.
	Purge(ctx context.Context, queueID string, before uint64) error
}

// Blobs keeps what is too large for a message.
type Blobs interface {
	// PutBlob stores bytes.
	PutBlob(ctx context.Context, data []byte) (payload.Ref, error)
	// ReadBlob returns all bytes of a blob.
	ReadBlob(ctx context.Context, ref payload.Ref) ([]byte, error)
}

// CheckPartition returns a fault.Invalid unless key can be that of a partition; empty is the default one.
func CheckPartition(key string) error {
	if len(key) > MaxPartitionKey {
		return fault.New(fault.Invalid, "queue: a partition key of %d bytes; want at most %d", len(key), MaxPartitionKey)
	}
	return nil
}

// CheckItems returns a fault.Invalid unless items can be put together.
func CheckItems(items []Item) error {
	if len(items) == 0 || len(items) > MaxItems {
		return fault.New(fault.Invalid, "queue: %d items at once; want 1 to %d, which is what a partition holds", len(items), MaxItems)
	}
	size := 0
	for _, i := range items {
		if i.Format != payload.Pickle && i.Format != payload.CBOR {
			return fault.New(fault.Invalid, "queue: an item of the unknown format %d", i.Format)
		}
		if len(i.Data) > MaxItem {
			return fault.New(fault.Invalid, "queue: an item of %d bytes; want at most %d", len(i.Data), MaxItem)
		}
		size += len(i.Data)
	}
	if size > MaxBytes {
		return fault.New(fault.Invalid, "queue: items of together %d bytes; want at most %d at once", size, MaxBytes)
	}
	return nil
}
