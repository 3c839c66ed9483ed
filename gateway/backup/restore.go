package backup

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Restored says what an archive held.
type Restored struct {
	Done
	// Keys is nil where the archive has none.
	Keys *MasterKeys
}

// Read puts what an archive holds into stores that nobody uses, and which are replaced. Scratch is a folder for what has to wait. An archive that is
// damaged, or has no end, is a fault.DataLoss before records or flow are touched; blobs may then be there that nothing names.
func Read(ctx context.Context, to Stores, from io.Reader, scratch string, tell Progress) (*Restored, error) {
	r := &reader{to: to, tar: tar.NewReader(from), sum: sha256.New(), scratch: scratch, tell: tell}
	if err := r.take(ctx); err != nil {
		return nil, err
	}
	for _, name := range r.order {
		if err := r.stream(ctx, name); err != nil {
			return nil, err
		}
	}
	if err := r.records(ctx); err != nil {
		return nil, err
	}
	return &r.done, nil
}

type reader struct {
	to      Stores
	tar     *tar.Reader
	sum     hash.Hash
	entries int
	scratch string
	tell    Progress
	done    Restored
	order   []string                   // streams
	streams map[string]json.RawMessage // their descriptions
	rows    *os.File                   // of all tables: "table\n" or a row, a line each
}

func damaged(format string, args ...any) error {
	return fault.New(fault.DataLoss, "archive: "+format, args...)
}

// take stores blobs, and puts the rest aside until the end says that all is well.
func (r *reader) take(ctx context.Context) (err error) {
	r.streams = map[string]json.RawMessage{}
	if r.rows, err = os.Create(filepath.Join(r.scratch, "rows")); err != nil {
		return err
	}
	for {
		h, err := r.tar.Next()
		if errors.Is(err, io.EOF) {
			return damaged("has no end; it is not whole")
		}
		if err != nil {
			return damaged("%w", err)
		}
		if h.Name == endEntry {
			return r.end()
		}
		if r.entries == 0 && h.Name != headEntry {
			return damaged("is no backup of Skerry's")
		}
		_, _ = fmt.Fprintf(r.sum, "%s\n%d\n", h.Name, h.Size) // a hash takes all
		content := io.TeeReader(r.tar, r.sum)
		if err := r.entry(ctx, h, content); errors.Is(err, io.ErrUnexpectedEOF) {
			return damaged("%s: ends before its end", h.Name)
		} else if err != nil {
			return err
		}
		r.entries++
	}
}

func (r *reader) end() error {
	var e end
	if err := json.NewDecoder(r.tar).Decode(&e); err != nil {
		return damaged("end: %w", err)
	}
	if sum := hex.EncodeToString(r.sum.Sum(nil)); e.SHA256 != sum || e.Entries != r.entries {
		return damaged("its sum is not that of its content")
	}
	return nil
}

func (r *reader) entry(ctx context.Context, h *tar.Header, content io.Reader) error {
	switch name := h.Name; {
	case name == headEntry:
		return r.head(ctx, content)
	case name == keyEntry, name == oldKeyEntry && r.done.Keys != nil:
		key, err := io.ReadAll(io.LimitReader(content, 1<<10))
		if name == oldKeyEntry {
			r.done.Keys.Before = key
		} else {
			r.done.Keys = &MasterKeys{Current: key}
		}
		return err
	case strings.HasPrefix(name, blobPrefix):
		return r.blob(ctx, "sha256:"+strings.TrimPrefix(name, blobPrefix), uint64(h.Size), content) //nolint:gosec // not negative
	case strings.HasPrefix(name, rowsPrefix):
		table, _, _ := strings.Cut(strings.TrimPrefix(name, rowsPrefix), "/")
		return r.piece(table, content)
	case strings.HasPrefix(name, streamPrefix):
		stream, rest, _ := strings.Cut(strings.TrimPrefix(name, streamPrefix), "/")
		if stream == "" || strings.ContainsAny(stream, "./\\") {
			return damaged("stream %q", stream)
		}
		if "/"+rest == describes {
			data, err := io.ReadAll(content)
			r.order, r.streams[stream] = append(r.order, stream), data
			return err
		}
		return appendTo(filepath.Join(r.scratch, "stream-"+stream), content)
	default:
		return damaged("entry %q is not known; restore it with the release that made it", name)
	}
}

func (r *reader) head(ctx context.Context, content io.Reader) error {
	data, err := io.ReadAll(content)
	if err != nil {
		return damaged("head: %w", err)
	}
	var h head
	if err := json.Unmarshal(data, &h); err != nil || h.Format != format {
		return damaged("format %q is not known; want %q", h.Format, format)
	}
	schema, err := r.to.Records.Schema(ctx)
	if err == nil && schema != h.Schema {
		err = fault.New(fault.Precondition, "archive: its records have schema %d, this release's have %d; restore it with the release that made it", h.Schema, schema)
	}
	return err
}

func (r *reader) blob(ctx context.Context, digest string, size uint64, content io.Reader) error {
	if has, err := r.to.Blobs.Claim(ctx, digest); err == nil && has == size {
		r.done.Kept++
		_, err := io.Copy(io.Discard, content)
		return err
	}
	if err := r.to.Blobs.Put(ctx, digest, size, content); err != nil {
		return err
	}
	r.done.Blobs++
	r.done.Bytes += size
	r.tell(r.done.Done)
	return nil
}

// piece keeps rows of a table, behind a line that names it. A row may go on in the next piece.
func (r *reader) piece(table string, content io.Reader) error {
	return appendTo(filepath.Join(r.scratch, "table-"+filepath.Base(table)), content, func() error {
		_, err := fmt.Fprintln(r.rows, table)
		return err
	})
}

// appendTo adds content to a file; first is called when it is made.
func appendTo(path string, content io.Reader, first ...func() error) (err error) {
	_, missing := os.Stat(path)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for _, tell := range first {
		if missing != nil {
			if err := tell(); err != nil {
				return err
			}
		}
	}
	_, err = io.Copy(f, content)
	return err
}

func (r *reader) stream(ctx context.Context, name string) error {
	path := filepath.Join(r.scratch, "stream-"+name)
	if err := appendTo(path, strings.NewReader("")); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := r.to.Flow.ReplaceStream(ctx, name, r.streams[name], f); err != nil {
		return err
	}
	r.done.Streams++
	r.tell(r.done.Done)
	return nil
}

// records puts the rows in place.
func (r *reader) records(ctx context.Context) error {
	if err := r.rows.Close(); err != nil {
		return err
	}
	list, err := os.ReadFile(r.rows.Name())
	if err != nil {
		return err
	}
	return r.to.Records.Replace(ctx, r.next(strings.Fields(string(list))))
}

// next returns the rows of tables, one by one.
func (r *reader) next(tables []string) func() (string, map[string]any, error) {
	var rows *rowFile
	return func() (string, map[string]any, error) {
		for {
			if rows == nil {
				if len(tables) == 0 {
					return "", nil, io.EOF
				}
				var err error
				if rows, err = openRows(r.scratch, tables[0]); err != nil {
					return "", nil, err
				}
				tables = tables[1:]
			}
			values, err := rows.next()
			if errors.Is(err, io.EOF) {
				rows = nil
				continue
			}
			if err != nil {
				return "", nil, damaged("rows of %q: %w", rows.table, err)
			}
			r.done.Rows++
			return rows.table, values, nil
		}
	}
}

type rowFile struct {
	table   string
	file    *os.File
	decoder *json.Decoder
}

func openRows(scratch, table string) (*rowFile, error) {
	f, err := os.Open(filepath.Join(scratch, "table-"+filepath.Base(table)))
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bufio.NewReaderSize(f, 1<<20))
	d.UseNumber() // whole numbers of 64 bits
	return &rowFile{table: table, file: f, decoder: d}, nil
}

func (f *rowFile) next() (values map[string]any, err error) {
	if err := f.decoder.Decode(&values); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.Join(io.EOF, f.file.Close())
		}
		return nil, err
	}
	return values, nil
}
