package volume

import (
	"context"
	"os"
	"path/filepath"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/worker/beside"
)

// blobs is where what is not in the cache comes from: what images have of it on this host, or the worker.
type blobs struct {
	worker *beside.Other
	images string // the keeper's folder of chunks, each in a file that has its digest as its name
}

var _ cas.Source = blobs{}

// ReadAll implements cas.Source. What is on this host is verified; what comes from the worker was.
func (b blobs) ReadAll(ctx context.Context, digest string, limit int64) ([]byte, error) {
	name := digest[len("sha256:"):]
	if info, err := os.Stat(filepath.Join(b.images, name)); err == nil && info.Size() <= limit {
		if data, err := os.ReadFile(filepath.Join(b.images, name)); err == nil && ident.Digest(data) == digest {
			return data, nil
		}
	}
	return b.worker.Call(ctx, asks(opBlob, blobArgs{Digest: digest, Limit: limit}), nil)
}
