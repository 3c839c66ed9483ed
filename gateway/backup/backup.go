// Package backup copies all that an installation keeps: into an archive while it runs, back from one, and from one set of stores into another.
//
// It knows no table and no stream: whatever the stores hold is in it. What is copied is of one moment per store, in the order flow, records, blobs.
// A record that is newer than the flow is put into it again when the gateway starts, and blobs that records and flow name are spared by
// collections for days, so that they are all there when their turn comes.
package backup

import (
	"context"
	"encoding/json"
	"io"

	"github.com/skerry-dev/skerry/internal/blob"
)

// Records is a database. Implemented by gateway/sqlstore.
type Records interface {
	// Schema is the version of its tables.
	Schema(ctx context.Context) (int, error)
	// Save hands over all rows of all tables as they are at one moment; a table's rows come together, after those of tables that they refer to.
	Save(ctx context.Context, row func(table string, values map[string]any) error) error
	// Replace puts what next returns, until io.EOF, in place of all rows there are, in one transaction.
	Replace(ctx context.Context, next func() (table string, values map[string]any, err error)) error
	// Empty says whether nobody has used it yet.
	Empty(ctx context.Context) (bool, error)
}

// Flow is the messages. Implemented by gateway/jetstream.
type Flow interface {
	// StreamNames lists all streams.
	StreamNames(ctx context.Context) ([]string, error)
	// Still returns streams that are to be copied as they are at one moment, all together, and has nobody change them until release is called: who
	// writes waits, so it is to be soon.
	Still(ctx context.Context) (streams []string, release func(), err error)
	// SaveStream writes a stream's content as it is at one moment, and returns what describes it. Of what is written meanwhile some may be missing.
	SaveStream(ctx context.Context, name string, to io.Writer) (json.RawMessage, error)
	// ReplaceStream puts a saved stream in place of the one of its name, if there is one.
	ReplaceStream(ctx context.Context, name string, description json.RawMessage, from io.Reader) error
}

// Stores is all that an installation keeps.
type Stores struct {
	Records Records
	Flow    Flow
	Blobs   *blob.Store
}

// MasterKeys are the files of an installation's master keys.
type MasterKeys struct {
	Current []byte
	// Before is the one before, while secrets may be sealed under it; else nil.
	Before []byte
}

// Progress hears what has been done so far.
type Progress func(done Done)

// Done counts what has been copied.
type Done struct {
	Streams, Rows, Blobs int
	Bytes                uint64 // of blobs
	Kept                 int    // blobs that were there already
}
