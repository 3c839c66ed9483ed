package gatewaylink

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/internal/fault"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/link"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/wire"
)

// maxFrame is the largest piece of a blob in one message, in bytes.
const maxFrame = 1 << 20

// Blobs is the gateway's blob store as a builder on another host sees it: an ordinary client of the gateway's bulk service, on connections
// of its own. It is safe for concurrent use.
type Blobs struct {
	rpc workerv1connect.BulkServiceClient
}

var _ build.Blobs = (*Blobs)(nil)

// NewBlobs returns the store of the gateway of a configuration; nothing is dialled yet.
func NewBlobs(c Config) *Blobs {
	return &Blobs{rpc: workerv1connect.NewBulkServiceClient(link.HTTPClient(c.Token, c.TLS), c.URL, connect.WithAcceptCompression("gzip", nil, nil))}
}

// Open streams a blob; its last read verifies it.
func (b *Blobs) Open(ctx context.Context, ref payload.Ref) (io.ReadCloser, error) {
	return b.open(ctx, ref, true)
}

// ReadAll returns a whole, verified blob of at most limit bytes.
func (b *Blobs) ReadAll(ctx context.Context, digest string, limit int64) (data []byte, err error) {
	r, err := b.open(ctx, payload.Ref{Digest: digest}, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	data, err = io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fault.New(fault.Exhausted, "blob %s: larger than %d bytes", digest, limit)
	}
	return data, err
}

func (b *Blobs) open(ctx context.Context, ref payload.Ref, sized bool) (io.ReadCloser, error) {
	if err := ident.CheckDigest(ref.Digest); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stream, err := b.rpc.FetchBlob(ctx, connect.NewRequest(&workerv1.FetchBlobRequest{Digest: ref.Digest}))
	if err != nil {
		cancel()
		return nil, fmt.Errorf("blob %s: %w", ref.Digest, fault.FromConnect(err))
	}
	r := &blobReader{ref: ref, sized: sized, stream: stream, cancel: cancel, hash: sha256.New()}
	// The first frame tells whether there is such a blob at all.
	if err := r.next(); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

type blobReader struct {
	ref    payload.Ref
	sized  bool // the size is known too
	stream *connect.ServerStreamForClient[workerv1.FetchBlobResponse]
	cancel context.CancelFunc
	hash   hash.Hash
	read   uint64
	data   []byte
	ended  error
}

// next gets the next frame; io.EOF after the last.
func (r *blobReader) next() error {
	if r.ended != nil {
		return r.ended
	}
	if r.stream.Receive() {
		r.data = r.stream.Msg().GetData()
		r.read += uint64(len(r.data))
		r.hash.Write(r.data)
		return nil
	}
	switch err := r.stream.Err(); {
	case err != nil:
		r.ended = fmt.Errorf("blob %s: %w", r.ref.Digest, fault.FromConnect(err))
	case r.sized && r.read != r.ref.Size || "sha256:"+hex.EncodeToString(r.hash.Sum(nil)) != r.ref.Digest:
		r.ended = fault.New(fault.DataLoss, "blob %s: what came does not have this digest and %d bytes", r.ref.Digest, r.ref.Size)
	default:
		r.ended = io.EOF
	}
	return r.ended
}

func (r *blobReader) Read(p []byte) (int, error) {
	for len(r.data) == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

func (r *blobReader) Close() error {
	r.cancel() // a stream that is not read to its end is not worth reading on
	_ = r.stream.Close()
	return nil
}

// Add keeps data as a blob, and names it; what the gateway has is not sent again.
func (b *Blobs) Add(ctx context.Context, data []byte) (ref payload.Ref, stored bool, err error) {
	ref = payload.Ref{Digest: ident.Digest(data), Size: uint64(len(data))}
	_, err = b.rpc.ClaimBlob(ctx, connect.NewRequest(&workerv1.ClaimBlobRequest{Digest: ref.Digest}))
	if err = fault.FromConnect(err); err == nil || !errors.Is(err, fault.NotFound) {
		return ref, false, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream := b.rpc.StoreBlob(ctx)
	for rest := data; ; {
		m := &workerv1.StoreBlobRequest{Data: rest[:min(len(rest), maxFrame)]}
		if rest = rest[len(m.GetData()):]; len(rest) == 0 {
			m.Blob = wire.RefToProto(ref)
		}
		if err = stream.Send(m); err != nil || len(rest) == 0 {
			break // the answer says what was wrong
		}
	}
	if _, answer := stream.CloseAndReceive(); answer != nil || errors.Is(err, io.EOF) {
		err = answer
	}
	if err != nil {
		return ref, false, fmt.Errorf("blob of %d bytes: %w", ref.Size, fault.FromConnect(err))
	}
	return ref, true, nil
}
