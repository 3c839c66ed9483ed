package cas

import (
	"context"
	"fmt"
	"io"
)

// Source is where whole blobs come from. Implemented by blob.Store.
type Source interface {
	// ReadAll returns a whole, verified blob of at most limit bytes. Errors: fault.NotFound, fault.DataLoss.
	ReadAll(ctx context.Context, digest string, limit int64) ([]byte, error)
}

// Load reads a manifest. Errors: fault.NotFound, fault.DataLoss.
func Load(ctx context.Context, from Source, digest string) (*Manifest, error) {
	data, err := from.ReadAll(ctx, digest, MaxManifest)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return Decode(data)
}

// Copy writes the whole file to w, verified. Errors: fault.NotFound, fault.DataLoss.
func Copy(ctx context.Context, from Source, m *Manifest, w io.Writer) error {
	for _, c := range m.Chunks {
		data, err := from.ReadAll(ctx, c.Digest, MaxChunk)
		if err != nil {
			return fmt.Errorf("file: %w", err)
		}
		if err := c.Verify(data); err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	return nil
}
