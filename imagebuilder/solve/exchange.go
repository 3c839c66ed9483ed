package solve

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/client"
	gwclient "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
)

// Shared is what a solve takes from other builders' results, and gives to them, through the blob store.
type Shared struct {
	// Bundles are where results are looked for, the one with most in common first.
	Bundles []Bundle
	// Known says that the first of them came of the same recipe, whole: results are given only if a step was run.
	Known bool
	// MaxBytes is the most that results may have to be given.
	MaxBytes uint64
	// Blobs is where they are.
	Blobs build.Blobs
	// Dir is a folder for small files, for the time of the solve.
	Dir string
	// Store has others find results that are blobs already. It is called after Solve has returned.
	Store func(ctx context.Context, b *cas.Bundle) error
	// Broken hears of a content that could not be read, before it is made again.
	Broken func(ctx context.Context, b BrokenContent)
}

// Bundle is a bundle and its digest.
type Bundle struct {
	Digest string
	*cas.Bundle
}

// BrokenContent is a content of a bundle that could not be read.
type BrokenContent struct {
	Bundle, Content string
	Err             error
}

// maxWriters is how many contents are written at a time, of all solves: each has a few chunks in memory.
const maxWriters = 8

// smallContent is the size up to which a content is read and verified whole before BuildKit gets any of it, in bytes: BuildKit itself
// verifies layers alone.
const smallContent = 4 << 20

// exchange is the content store that BuildKit reads others' results from and writes its own to. A content that a bundle has is not
// written again.
type exchange struct {
	ctx     context.Context //nolint:containedctx // of the solve
	s       *Shared
	writers chan struct{} // holds a token for each content that is being written

	mu     sync.Mutex
	known  map[string]source // what bundles have
	given  map[string]cas.File
	bytes  uint64 // of what was written
	broken *BrokenContent
}

// source is where a content can be had.
type source struct {
	bundle string
	file   cas.File
}

var _ content.Store = (*exchange)(nil)

func newExchange(ctx context.Context, s *Shared, writers chan struct{}) *exchange {
	x := &exchange{ctx: ctx, s: s, writers: writers, known: map[string]source{}, given: map[string]cas.File{}}
	for _, b := range slices.Backward(s.Bundles) {
		for _, f := range b.Files {
			x.known[f.Content] = source{b.Digest, f}
		}
	}
	return x
}

// imports are the bundles in the form that a solve within a build takes. Place names the store.
func (x *exchange) imports(place string) (out []gwclient.CacheOptionsEntry) {
	for _, b := range x.s.Bundles {
		out = append(out, gwclient.CacheOptionsEntry{Type: CacheFolder, Attrs: map[string]string{"src": place, "digest": b.Root}})
	}
	return out
}

// exports has BuildKit write all results of a build here. One that can't be written fails no build.
func (x *exchange) exports(place string) []client.CacheOptionsEntry {
	return []client.CacheOptionsEntry{{Type: CacheFolder, Attrs: map[string]string{
		"dest": place, "mode": "max", "ignore-error": "true", "compression": "zstd", "force-compression": "true",
	}}}
}

// bundle is what was given, where BuildKit says that root describes it.
func (x *exchange) bundle(root string) (*cas.Bundle, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	b := &cas.Bundle{Root: root}
	for _, f := range x.given {
		b.Files = append(b.Files, f)
	}
	slices.SortFunc(b.Files, func(a, c cas.File) int { return strings.Compare(a.Content, c.Content) })
	if _, ok := x.given[root]; !ok {
		return nil, fault.New(fault.Internal, "shared results: %q was not written", root)
	}
	return b, nil
}

// unreadable returns a content that could not be read; nil: all could.
func (x *exchange) unreadable() *BrokenContent {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.broken
}

// fail notes that a content can't be read: from here on it is none that others have.
func (x *exchange) fail(s source, err error) error {
	x.mu.Lock()
	_, known := x.known[s.file.Content]
	b := BrokenContent{s.bundle, s.file.Content, err}
	if known = known && x.ctx.Err() == nil; known {
		delete(x.known, s.file.Content)
		x.broken = &b
	}
	x.mu.Unlock()
	if known {
		x.s.Broken(x.ctx, b)
	}
	return fmt.Errorf("shared results: %w", err)
}

// lookup returns where a content of a bundle is.
func (x *exchange) lookup(d digest.Digest) (source, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s, ok := x.known[d.String()]
	return s, ok
}

// Info describes a content.
func (x *exchange) Info(_ context.Context, d digest.Digest) (content.Info, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f, ok := x.given[d.String()]
	if s, known := x.known[d.String()]; !ok && known {
		f, ok = s.file, true
	}
	if !ok {
		return content.Info{}, fmt.Errorf("shared results: %q: %w", d, errdefs.ErrNotFound)
	}
	return content.Info{Digest: d, Size: int64(f.Size)}, nil //nolint:gosec // at most cas.MaxBundled
}

// ReaderAt opens a content of a bundle.
func (x *exchange) ReaderAt(_ context.Context, desc ocispec.Descriptor) (content.ReaderAt, error) {
	s, ok := x.lookup(desc.Digest)
	if !ok {
		return nil, fmt.Errorf("shared results: %q: %w", desc.Digest, errdefs.ErrNotFound)
	}
	m, err := cas.Load(x.ctx, x.s.Blobs, s.file.Manifest)
	if err == nil && m.Size != s.file.Size {
		err = fault.New(fault.DataLoss, "content %q: has %d bytes, not %d", s.file.Content, m.Size, s.file.Size)
	}
	if err != nil {
		return nil, x.fail(s, err)
	}
	r := &contentReader{x: x, s: s, from: cas.NewReader(x.ctx, x.s.Blobs, m)}
	if m.Size > smallContent {
		return r, nil
	}
	data := make([]byte, m.Size)
	if _, err := r.from.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, x.fail(s, err)
	}
	if got := digest.FromBytes(data); got != desc.Digest {
		return nil, x.fail(s, fault.New(fault.DataLoss, "content %q: its digest is %s", desc.Digest, got))
	}
	r.from = strings.NewReader(string(data))
	return r, nil
}

// contentReader notes what can't be read.
type contentReader struct {
	x    *exchange
	s    source
	from io.ReaderAt
}

func (r *contentReader) ReadAt(p []byte, offset int64) (int, error) {
	n, err := r.from.ReadAt(p, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		err = r.x.fail(r.s, err)
	}
	return n, err
}

func (r *contentReader) Size() int64  { return int64(r.s.file.Size) } //nolint:gosec // at most cas.MaxBundled
func (r *contentReader) Close() error { return nil }

// Writer begins a content, unless a bundle has it.
func (x *exchange) Writer(_ context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	if x.take(o.Desc.Digest.String()) {
		return nil, fmt.Errorf("shared results: %q: %w", o.Desc.Digest, errdefs.ErrAlreadyExists)
	}
	select {
	case x.writers <- struct{}{}:
	case <-x.ctx.Done():
		return nil, context.Cause(x.ctx)
	}
	return &contentWriter{x: x, ref: o.Ref, began: time.Now(), to: cas.NewStream(x.ctx, x.s.Blobs), hash: sha256.New()}, nil
}

// take gives a content that a bundle has, and says whether that, or a writer, did.
func (x *exchange) take(d string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, given := x.given[d]
	if s, ok := x.known[d]; ok && !given {
		x.given[d], given = s.file, true
	}
	return given
}

// contentWriter stores one content.
type contentWriter struct {
	x     *exchange
	ref   string
	began time.Time
	to    *cas.Stream
	hash  hash.Hash
	once  sync.Once
}

func (w *contentWriter) Write(p []byte) (int, error) {
	if err := w.x.add(len(p)); err != nil {
		return 0, err
	}
	w.hash.Write(p)
	return w.to.Write(p)
}

// add counts bytes that are about to be written.
func (x *exchange) add(n int) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.bytes += uint64(n); x.bytes > x.s.MaxBytes { //nolint:gosec // a length
		return fault.New(fault.Exhausted, "shared results: over %d bytes", x.s.MaxBytes)
	}
	return nil
}

func (w *contentWriter) Digest() digest.Digest {
	return digest.Digest("sha256:" + hex.EncodeToString(w.hash.Sum(nil)))
}

func (w *contentWriter) Status() (content.Status, error) {
	return content.Status{Ref: w.ref, Offset: int64(w.to.Size()), StartedAt: w.began, UpdatedAt: time.Now()}, nil //nolint:gosec // far smaller
}

// Truncate is refused: what fails is not gone on with, but begun anew.
func (w *contentWriter) Truncate(int64) error { return errNotKept }

// Close ends the writing, also after a Commit.
func (w *contentWriter) Close() error {
	w.once.Do(func() {
		w.to.Abort()
		<-w.x.writers
	})
	return nil
}

// Commit has the content in what is given.
func (w *contentWriter) Commit(ctx context.Context, size int64, expected digest.Digest, _ ...content.Opt) error {
	d := w.Digest()
	if n := w.to.Size(); expected != "" && expected != d || size > 0 && uint64(size) != n {
		w.to.Abort()
		return fmt.Errorf("shared results: %q of %d bytes came as %q of %d: %w", expected, size, d, n, errdefs.ErrFailedPrecondition)
	}
	f := cas.File{Content: d.String(), Size: w.to.Size()}
	var err error
	if f.Manifest, err = w.to.Finish(ctx); err != nil {
		return err
	}
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	w.x.given[f.Content] = f
	return nil
}

var errNotKept = fmt.Errorf("shared results: %w", errdefs.ErrNotImplemented)

// Update is refused: nothing is known of a content but itself.
func (x *exchange) Update(context.Context, content.Info, ...string) (content.Info, error) {
	return content.Info{}, errNotKept
}

// Walk is refused: nothing looks for contents.
func (x *exchange) Walk(context.Context, content.WalkFunc, ...string) error { return errNotKept }

// Delete is refused: a collection removes contents.
func (x *exchange) Delete(context.Context, digest.Digest) error { return errNotKept }

// Status says that no content is half written.
func (x *exchange) Status(_ context.Context, ref string) (content.Status, error) {
	return content.Status{}, fmt.Errorf("shared results: %q: %w", ref, errdefs.ErrNotFound)
}

// ListStatuses says that no content is half written.
func (x *exchange) ListStatuses(context.Context, ...string) ([]content.Status, error) {
	return nil, nil
}

// Abort has nothing to forget.
func (x *exchange) Abort(context.Context, string) error { return nil }
