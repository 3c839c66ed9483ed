package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/fault"
)

// format names the archive. A reader refuses others.
const format = "skerry.backup.1"

// Entries of an archive: the head, streams as numbered pieces and a description each, rows as JSON lines, the master keys if they were asked for, blobs by
// digest, and at its end a sum of all before it. What has no end is not whole.
const (
	headEntry    = "head.json"
	streamPrefix = "flow/"
	describes    = "/description.json"
	rowsPrefix   = "records/"
	keyEntry     = "master.key"
	oldKeyEntry  = "master.key.old"
	blobPrefix   = "blobs/"
	endEntry     = "end.json"
)

// pieceSize is how much of a stream or of rows one entry has, in bytes.
const pieceSize = 1 << 20

type head struct {
	Format  string    `json:"format"`
	Schema  int       `json:"schema"`
	Made    time.Time `json:"made"`
	WithKey bool      `json:"with_key"`
}

type end struct {
	Entries int    `json:"entries"`
	SHA256  string `json:"sha256"`
}

// writer writes entries and sums them up.
type writer struct {
	tar     *tar.Writer
	sum     hash.Hash
	entries int
}

func (w *writer) add(name string, size int64, content io.Reader) error {
	err := w.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, Typeflag: tar.TypeReg})
	if err == nil {
		_, err = fmt.Fprintf(w.sum, "%s\n%d\n", name, size)
	}
	if err == nil {
		_, err = io.Copy(io.MultiWriter(w.tar, w.sum), content)
	}
	if err != nil {
		return fmt.Errorf("archive: %s: %w", name, err)
	}
	w.entries++
	return nil
}

func (w *writer) addJSON(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return w.add(name, int64(len(data)), bytes.NewReader(data))
}

// pieces writes what it is given as numbered entries below a name.
type pieces struct {
	w    *writer
	name string
	buf  bytes.Buffer
	n    int
}

func (p *pieces) Write(b []byte) (int, error) {
	p.buf.Write(b)
	for p.buf.Len() >= pieceSize {
		if err := p.flush(pieceSize); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func (p *pieces) flush(size int) error {
	if size == 0 {
		return nil
	}
	p.n++
	return p.w.add(fmt.Sprintf("%s/%08d", p.name, p.n), int64(size), bytes.NewReader(p.buf.Next(size)))
}

func (p *pieces) close() error { return p.flush(p.buf.Len()) }

// Write writes an archive of the stores, which may be in use. Keys are in it unless they are nil; they were read before.
func Write(ctx context.Context, from Stores, to io.Writer, keys *MasterKeys, tell Progress) error {
	w := &writer{tar: tar.NewWriter(to), sum: sha256.New()}
	schema, err := from.Records.Schema(ctx)
	if err != nil {
		return err
	}
	if err := w.addJSON(headEntry, head{Format: format, Schema: schema, Made: time.Now().UTC(), WithKey: keys != nil}); err != nil {
		return err
	}
	done := &Done{}
	if err := w.streams(ctx, from.Flow, done, tell); err != nil {
		return err
	}
	if err := w.records(ctx, from.Records, done); err != nil {
		return err
	}
	tell(*done)
	if err := w.keys(keys); err != nil {
		return err
	}
	if err := w.blobs(ctx, from.Blobs, done, tell); err != nil {
		return err
	}
	if err := w.addJSON(endEntry, end{Entries: w.entries, SHA256: hex.EncodeToString(w.sum.Sum(nil))}); err != nil {
		return err
	}
	return w.tar.Close()
}

func (w *writer) keys(keys *MasterKeys) error {
	if keys == nil {
		return nil
	}
	err := w.add(keyEntry, int64(len(keys.Current)), bytes.NewReader(keys.Current))
	if err == nil && keys.Before != nil {
		err = w.add(oldKeyEntry, int64(len(keys.Before)), bytes.NewReader(keys.Before))
	}
	return err
}

func (w *writer) streams(ctx context.Context, flow Flow, done *Done, tell Progress) error {
	names, err := flow.StreamNames(ctx)
	if err != nil {
		return err
	}
	together, err := w.together(ctx, flow)
	if err != nil {
		return err
	}
	done.Streams += len(together)
	for _, name := range names {
		if slices.Contains(together, name) {
			continue
		}
		p := &pieces{w: w, name: streamPrefix + name}
		description, err := flow.SaveStream(ctx, name, p)
		if err := errors.Join(err, p.close()); err != nil {
			return err
		}
		if err := w.addJSON(streamPrefix+name+describes, description); err != nil {
			return err
		}
		done.Streams++
		tell(*done)
	}
	return nil
}

// together writes the streams that have to be of one moment. They wait in files without a name meanwhile, for whoever reads the archive may be slow.
func (w *writer) together(ctx context.Context, flow Flow) (names []string, err error) {
	names, release, err := flow.Still(ctx)
	if err != nil {
		return nil, err
	}
	released := sync.OnceFunc(release)
	defer released()
	files := make([]*os.File, len(names))
	defer func() {
		for _, f := range files {
			if f != nil {
				err = errors.Join(err, f.Close())
			}
		}
	}()
	descriptions := make([]json.RawMessage, len(names))
	for i, name := range names {
		if files[i], err = aside(); err != nil {
			return nil, err
		}
		if descriptions[i], err = flow.SaveStream(ctx, name, files[i]); err != nil {
			return nil, err
		}
	}
	released()
	for i, name := range names {
		if _, err := files[i].Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		p := &pieces{w: w, name: streamPrefix + name}
		_, err := io.Copy(p, files[i])
		if err := errors.Join(err, p.close()); err != nil {
			return nil, err
		}
		if err := w.addJSON(streamPrefix+name+describes, descriptions[i]); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// aside makes a file that goes with its last user.
func aside() (*os.File, error) {
	f, err := os.CreateTemp("", "skerry-backup-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (w *writer) records(ctx context.Context, records Records, done *Done) error {
	var p *pieces
	err := records.Save(ctx, func(table string, values map[string]any) error {
		if p == nil || p.name != rowsPrefix+table {
			if p != nil {
				if err := p.close(); err != nil {
					return err
				}
			}
			p = &pieces{w: w, name: rowsPrefix + table}
		}
		line, err := json.Marshal(values)
		if err != nil {
			return err
		}
		done.Rows++
		_, err = p.Write(append(line, '\n'))
		return err
	})
	if err == nil && p != nil {
		err = p.close()
	}
	return err
}

func (w *writer) blobs(ctx context.Context, blobs *blob.Store, done *Done, tell Progress) error {
	return blobs.List(ctx, func(e blob.Entry) error {
		r, err := blobs.Open(ctx, e.Digest, 0)
		if errors.Is(err, fault.NotFound) { // collected meanwhile, so that nothing named it
			return nil
		}
		if err != nil {
			return err
		}
		err = w.add(blobPrefix+strings.TrimPrefix(e.Digest, "sha256:"), int64(e.Size), r) //nolint:gosec // at most blob.MaxSize
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
		done.Blobs++
		done.Bytes += e.Size
		tell(*done)
		return nil
	})
}
