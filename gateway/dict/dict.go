// Package dict is the noun of values under keys that everything in an environment shares.
package dict

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Limits of dicts.
const (
	// MaxKey is the largest key in bytes.
	MaxKey = 32 << 10
	// MaxValue is the largest value in bytes; over payload.MaxInline it is a blob.
	MaxValue = 256 << 20
	// MaxUpdate and MaxUpdateBytes bound one update.
	MaxUpdate      = 10_000
	MaxUpdateBytes = 32 << 20
	// MaxEntries bounds the entries of a dict: the store keeps something in memory for each.
	MaxEntries = 1_000_000
)

// Retention is how long an entry lives that nobody reads or writes; up to a day more.
const Retention = 7 * 24 * time.Hour

// FreshFor is the age up to which an entry that is read is not written again. Stores keep entries for Retention and this.
const FreshFor = 24 * time.Hour

// Slot is where a dict keeps a key: 22 characters of base64url, the same for the same key.
type Slot string

// Key is a serialised key. Keys are equal where format and bytes are.
type Key struct {
	Format payload.Format
	Data   []byte
}

// Slot returns where the key is kept: 128 bits of a digest, so no two keys share one.
func (k Key) Slot() Slot {
	sum := sha256.Sum256(append([]byte{byte(k.Format)}, k.Data...))
	return Slot(base64.RawURLEncoding.EncodeToString(sum[:16]))
}

// Check returns a fault.Invalid unless the key can be one.
func (k Key) Check() error {
	switch {
	case k.Format != payload.Pickle && k.Format != payload.CBOR:
		return fault.New(fault.Invalid, "dict: a key of the unknown format %d", k.Format)
	case len(k.Data) == 0 || len(k.Data) > MaxKey:
		return fault.New(fault.Invalid, "dict: a key of %d bytes; want 1 to %d", len(k.Data), MaxKey)
	}
	return nil
}

// Entry is a key and its value.
type Entry struct {
	Key   Key
	Value payload.Payload
	// Request is the id of the request that put it; may be empty.
	Request string
}

// Check returns a fault.Invalid unless the entry can be one.
func (e *Entry) Check() error {
	if err := e.Key.Check(); err != nil {
		return err
	}
	v := e.Value
	switch {
	case v.Format != payload.Pickle && v.Format != payload.CBOR:
		return fault.New(fault.Invalid, "dict: a value of the unknown format %d", v.Format)
	case v.Blob != nil && v.Blob.Size > MaxValue:
		return fault.New(fault.Invalid, "dict: a value of %d bytes; want at most %d", v.Blob.Size, MaxValue)
	case v.Blob != nil:
		return ident.CheckDigest(v.Blob.Digest)
	case len(v.Inline) > payload.MaxInline:
		return fault.New(fault.Invalid, "dict: a value of %d bytes in the request; over %d it is to be uploaded as a blob", len(v.Inline), payload.MaxInline)
	}
	return nil
}

func (k Key) equal(other Key) bool {
	return k.Format == other.Format && bytes.Equal(k.Data, other.Data)
}

// Stored is an entry as a store has it.
type Stored struct {
	Entry
	// Place grows with every entry that is put; an entry that is put again has a new one.
	Place uint64
	At    time.Time
}

// Condition says when an entry is put.
type Condition struct {
	// If says that there is one.
	If bool
	// Place is where the entry of the key has to be; 0: there has to be none.
	Place uint64
}

// Entries keeps the entries of dicts, each for Retention and FreshFor after it was put.
type Entries interface {
	// Entry returns the entry of a slot, or a fault.NotFound.
	Entry(ctx context.Context, dictID string, slot Slot) (Stored, error)
	// PutEntries puts entries; those on one slot replace one another. It may block while too much is on its way. done, which must not block, gets
	// nil or an error for each: fault.Exists where the condition does not hold.
	PutEntries(dictID string, entries []Entry, c Condition, done func(errs []error))
	// RemoveEntry removes what is at a place, if it is there still.
	RemoveEntry(ctx context.Context, place uint64) error
	// CountEntries counts.
	CountEntries(ctx context.Context, dictID string) (uint64, error)
	// ReadEntries hands over entries in the order of their places, from the first after a place on, until f wants no more, there are no more, or
	// enough has been read.
	ReadEntries(ctx context.Context, dictID string, after uint64, f func(Stored) (more bool)) error
	// LastPlace returns the last place that any entry has got.
	LastPlace(ctx context.Context) (uint64, error)
	// PurgeEntries removes all entries of a dict.
	PurgeEntries(ctx context.Context, dictID string) error
}

// Intent is a change of many entries that is to be done as a whole: it is written down before it begins, and done again after a crash.
type Intent struct {
	DictID string
	// Clear removes all entries; else Entries are put.
	Clear   bool
	Entries []Entry
	// Body is where the entries are if they are too many for a message.
	Body  *payload.Ref
	Place uint64
}

// Pop is a removed entry. It is written down before the entry is removed, and kept for a while for who asks again.
type Pop struct {
	DictID, Request string
	Value           payload.Payload
	// Entry is the place of the entry.
	Entry uint64
}

// Journal keeps what a crash must not leave half-done.
type Journal interface {
	// PutIntent writes an intent down and returns its place.
	PutIntent(ctx context.Context, in Intent) (uint64, error)
	// DropIntent forgets one that is done.
	DropIntent(ctx context.Context, place uint64) error
	// Intents hands over all intents of a dict or (dictID empty) of all, oldest first.
	Intents(ctx context.Context, dictID string, f func(Intent) error) error
	// PutPop writes a removal down.
	PutPop(ctx context.Context, p Pop) error
	// Pop returns the removal of a request, or a fault.NotFound.
	Pop(ctx context.Context, dictID, request string) (Pop, error)
	// Pops hands over removals since a moment before the last one.
	Pops(ctx context.Context, within time.Duration, f func(Pop) error) error
}

// Blobs keeps what is too large for a message.
type Blobs interface {
	// ClaimBlob says that something is about to refer to a blob. Errors: fault.NotFound.
	ClaimBlob(ctx context.Context, digest string) error
	// PutBlob stores bytes.
	PutBlob(ctx context.Context, data []byte) (payload.Ref, error)
	// ReadBlob returns all bytes of a blob.
	ReadBlob(ctx context.Context, ref payload.Ref) ([]byte, error)
}
