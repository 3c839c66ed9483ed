package snapshot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
)

// fetchers is how many chunks are fetched at a time.
const fetchers = 8

// Store puts a snapshot that is kept here into the blob store as well, as one file in chunks: its description in maxDescription bytes, then all
// files. It returns the digest of the manifest. Chunks that another snapshot has in common are stored once.
func (s *Store) Store(ctx context.Context, id string) (manifest string, err error) {
	dir, release, err := s.use(id)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, release()) }()
	d, err := s.read(dir)
	if err != nil {
		return "", fmt.Errorf("snapshot %q: %w", id, err)
	}
	head, err := json.Marshal(d)
	if err != nil || len(head) > maxDescription {
		return "", fault.New(fault.Internal, "snapshot %q: %d bytes describe it: %w", id, len(head), err)
	}
	head = append(head, bytes.Repeat([]byte(" "), maxDescription-len(head))...)
	src := joined{{bytes.NewReader(head), maxDescription}}
	var cut cas.Cutter
	cut.Whole(maxDescription)
	for _, part := range d.Files {
		f, err := os.Open(filepath.Join(dir, part.Name))
		if err != nil {
			return "", fmt.Errorf("snapshot %q: %w", id, err)
		}
		defer f.Close()
		src = append(src, section{f, part.Size})
		cut.Whole(uint64(part.Size)) //nolint:gosec // check has seen it
	}
	w, err := cas.Write(ctx, s.cfg.Blobs, src, cut.Sizes(), nil)
	if err != nil {
		return "", fmt.Errorf("snapshot %q: %w", id, err)
	}
	return w.File.Digest, nil
}

// joined are files that are read as if they were one.
type joined []section

type section struct {
	r    io.ReaderAt
	size int64
}

// ReadAt implements io.ReaderAt.
func (j joined) ReadAt(b []byte, at int64) (n int, err error) {
	for _, part := range j {
		if at >= part.size {
			at -= part.size
			continue
		}
		size := min(int64(len(b)-n), part.size-at)
		if _, err := part.r.ReadAt(b[n:n+int(size)], at); err != nil {
			return n, err
		}
		if n, at = n+int(size), 0; n == len(b) {
			return n, nil
		}
	}
	return n, io.EOF
}

// fetch brings a snapshot here from the blob store.
func (s *Store) fetch(ctx context.Context, manifest string) (dir string, release func() error, err error) {
	dir, done, err := s.fetched.Get(ctx, strings.ReplaceAll(manifest, ":", "-"), func(tmp string) (uint64, error) {
		return s.download(ctx, manifest, tmp)
	})
	if err != nil {
		return "", nil, fmt.Errorf("snapshot %s: %w", manifest, err)
	}
	return dir, func() error { done(); return nil }, nil
}

// download writes a snapshot's files, verified, to a new folder.
func (s *Store) download(ctx context.Context, manifest, dir string) (size uint64, err error) {
	m, err := cas.Load(ctx, s.cfg.Blobs, manifest)
	if err != nil {
		return 0, err
	}
	if len(m.Chunks) == 0 || m.Chunks[0].Size != maxDescription {
		return 0, fault.New(fault.DataLoss, "what is stored is no snapshot")
	}
	head, err := s.cfg.Blobs.ReadAll(ctx, m.Chunks[0].Digest, maxDescription)
	if err != nil {
		return 0, err
	}
	d := &description{}
	if err := json.Unmarshal(head, d); err != nil {
		return 0, fault.New(fault.DataLoss, "its description: %w", err)
	}
	if err := d.check(s.cfg.Runtime); err != nil {
		return 0, err
	}
	if m.Size-maxDescription != d.bytes() {
		return 0, fault.New(fault.DataLoss, "its files have %d bytes, want %d", m.Size-maxDescription, d.bytes())
	}
	if err := s.room(m.Size); err != nil {
		return 0, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return 0, err
	}
	var files []*os.File
	defer func() {
		for _, f := range files {
			closing(&err, f)
		}
	}()
	for _, part := range d.Files {
		f, err := os.OpenFile(filepath.Join(dir, part.Name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return 0, err
		}
		files = append(files, f)
	}
	if err := s.chunks(ctx, m, d, files); err != nil {
		return 0, err
	}
	_, err = s.describe(dir)
	return m.Size, err
}

// chunks fetches all chunks but the first and writes each to the file that it is of.
func (s *Store) chunks(ctx context.Context, m *cas.Manifest, d *description, files []*os.File) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(fetchers)
	index, at := 0, int64(0) // the file that the next chunk is of, and where in it
	for _, c := range m.Chunks[1:] {
		for index < len(files) && at == d.Files[index].Size {
			index, at = index+1, 0
		}
		if index == len(files) || int64(c.Size) > d.Files[index].Size-at {
			_ = g.Wait() // the snapshot is none, whatever came
			return fault.New(fault.DataLoss, "a chunk of it is of two files")
		}
		file, offset := files[index], at
		at += int64(c.Size)
		g.Go(func() error {
			data, err := s.cfg.Blobs.ReadAll(ctx, c.Digest, cas.MaxChunk)
			if err == nil {
				err = c.Verify(data)
			}
			if err == nil {
				_, err = file.WriteAt(data, offset)
			}
			return err
		})
	}
	return g.Wait()
}
