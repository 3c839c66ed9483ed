package base

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

const (
	// maxRecord is the most of a base's record in bytes.
	maxRecord = 64 << 10
	// maxPacked is the most of a base from elsewhere in bytes.
	maxPacked = 8 << 30
)

// Pack stores a base of this host, and returns the bundle of its blobs; the bundle's root is the base's record.
func Pack(ctx context.Context, img *Image, to cas.Sink) (*cas.Bundle, error) {
	data, err := json.Marshal(record{Name: img.Name, Digest: img.Digest, Env: img.Env, Made: img.Made})
	if err != nil {
		return nil, fmt.Errorf("base %q: %w", img.Name, err)
	}
	b := &cas.Bundle{}
	root, err := pack(ctx, strings.NewReader(string(data)), to)
	if err != nil {
		return nil, fmt.Errorf("base %q: %w", img.Name, err)
	}
	b.Root, b.Files = root.Content, []cas.File{root}
	dir := layoutWriter{img.Dir}.blobs()
	blobs, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("base %q: %w", img.Name, err)
	}
	for _, blob := range blobs {
		f, err := os.Open(filepath.Join(dir, blob.Name()))
		if err != nil {
			return nil, fmt.Errorf("base %q: %w", img.Name, err)
		}
		file, err := pack(ctx, f, to)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("base %q: %w", img.Name, err)
		}
		if file.Content != "sha256:"+blob.Name() {
			return nil, fault.New(fault.DataLoss, "base %q: blob %s has the digest %s; remove the folder to have it made again", img.Name, blob.Name(), file.Content)
		}
		b.Files = append(b.Files, file)
	}
	return b, nil
}

// pack stores one content.
func pack(ctx context.Context, r io.Reader, to cas.Sink) (cas.File, error) {
	s, sum := cas.NewStream(ctx, to), sha256.New()
	defer s.Abort()
	n, err := io.Copy(io.MultiWriter(s, sum), r)
	if err != nil {
		return cas.File{}, err
	}
	f := cas.File{Content: "sha256:" + hex.EncodeToString(sum.Sum(nil)), Size: uint64(n)} //nolint:gosec // not negative
	f.Manifest, err = s.Finish(ctx)
	return f, err
}

// Packed is a base of another host, in the blob store.
type Packed struct {
	record record
	bundle *cas.Bundle
	from   cas.Source
}

// Open reads what a packed base is. Errors: fault.NotFound, fault.DataLoss.
func Open(ctx context.Context, b *cas.Bundle, from cas.Source) (*Packed, error) {
	p := &Packed{bundle: b, from: from}
	i := slices.IndexFunc(b.Files, func(f cas.File) bool { return f.Content == b.Root })
	if i < 0 || b.Files[i].Size > maxRecord || b.Bytes() > maxPacked {
		return nil, fault.New(fault.DataLoss, "base of another host: has no record, or is too large")
	}
	var text strings.Builder
	if err := p.unpack(ctx, b.Files[i], &text); err != nil {
		return nil, err
	}
	err := json.Unmarshal([]byte(text.String()), &p.record)
	if err == nil {
		err = ident.CheckDigest(p.record.Digest)
	}
	if err != nil {
		return nil, fault.New(fault.DataLoss, "base of another host: %w", err)
	}
	return p, nil
}

// Digest is that of the image's manifest.
func (p *Packed) Digest() string { return p.record.Digest }

// Made is when it was made, in seconds since 1970.
func (p *Packed) Made() int64 { return p.record.Made }

// unpack writes a content, verified.
func (p *Packed) unpack(ctx context.Context, f cas.File, w io.Writer) error {
	m, err := cas.Load(ctx, p.from, f.Manifest)
	if err != nil {
		return err
	}
	sum := sha256.New()
	if err := cas.Copy(ctx, p.from, m, io.MultiWriter(w, sum)); err != nil {
		return err
	}
	if got := "sha256:" + hex.EncodeToString(sum.Sum(nil)); got != f.Content || m.Size != f.Size {
		return fault.New(fault.DataLoss, "base of another host: %s came for %s", got, f.Content)
	}
	return nil
}

// PreparePacked returns a base of another host, fetched where it is missing. As with Prepare, of calls for the same base one fetches it.
func (d *Debian) PreparePacked(ctx context.Context, p *Packed, progress func(string)) (*Image, error) {
	name := "from-elsewhere-" + strings.TrimPrefix(p.record.Digest, "sha256:")
	return d.shelf.prepare(ctx, name, progress, func(ctx context.Context, l layoutWriter) (record, error) {
		progress("fetching the base that other builders start from: " + p.record.Name)
		if err := os.MkdirAll(l.blobs(), 0o755); err != nil {
			return record{}, err
		}
		there := false
		for _, f := range p.bundle.Files {
			if f.Content == p.bundle.Root {
				continue
			}
			if err := p.fetch(ctx, f, l); err != nil {
				return record{}, err
			}
			there = there || f.Content == p.record.Digest
		}
		if !there {
			return record{}, fault.New(fault.DataLoss, "base of another host: its manifest is missing")
		}
		return p.record, nil
	})
}

func (p *Packed) fetch(ctx context.Context, f cas.File, l layoutWriter) error {
	out, err := os.Create(filepath.Join(l.blobs(), strings.TrimPrefix(f.Content, "sha256:")))
	if err != nil {
		return err
	}
	err = p.unpack(ctx, f, out)
	return errors.Join(err, out.Sync(), out.Close())
}

// Local returns the base of a series that was made here; nil: there is none.
func (d *Debian) Local(series string) (*Image, error) {
	return load(filepath.Join(d.shelf.dir, shelfName(suites[series], series)))
}

// Debian returns the provider that the chain asks for a series, if that is a Debian without more.
func (c Chain) Debian(series string) (*Debian, bool) {
	for _, p := range c {
		if known, _ := p.Series(); slices.Contains(known, series) {
			d, ok := p.(*Debian)
			return d, ok
		}
	}
	return nil, false
}
