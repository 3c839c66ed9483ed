package gatewaylink

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/wire"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/rootfs"
	"github.com/skerry-dev/skerry/worker/snapshot"
)

// maxFrame is the largest piece of a blob in one message, in bytes.
const maxFrame = 1 << 20

// Bulk is the client of the gateway's bulk service: blobs and trees for containers, and what they make. It is safe for concurrent use.
type Bulk struct {
	rpc workerv1connect.BulkServiceClient
}

var (
	_ rootfs.Source   = (*Bulk)(nil)
	_ container.Blobs = (*Bulk)(nil)
	_ snapshot.Blobs  = (*Bulk)(nil)
)

// NewBulk returns a client for the gateway at url. The HTTP client authenticates, speaks HTTP/2, and keeps a connection of its own.
func NewBulk(client *http.Client, url string) *Bulk {
	plain := connect.WithAcceptCompression("gzip", nil, nil)
	return &Bulk{rpc: workerv1connect.NewBulkServiceClient(client, url, plain)}
}

// Tree lists the files of a tree.
func (b *Bulk) Tree(ctx context.Context, digest string) ([]rootfs.File, error) {
	res, err := b.rpc.FetchTree(ctx, connect.NewRequest(&workerv1.FetchTreeRequest{TreeDigest: digest}))
	if err != nil {
		return nil, fmt.Errorf("tree %s: %w", digest, fault.FromConnect(err))
	}
	files := make([]rootfs.File, 0, len(res.Msg.GetFiles()))
	for _, m := range res.Msg.GetFiles() {
		ref, err := wire.AnyRefFromProto(m.GetBlob())
		if err != nil {
			return nil, fmt.Errorf("tree %s: file %q: %w", digest, m.GetPath(), err)
		}
		files = append(files, rootfs.File{Path: m.GetPath(), Blob: ref, Mode: os.FileMode(m.GetMode() & 0o777)})
	}
	return files, nil
}

// Open streams a blob; its last read verifies it.
func (b *Bulk) Open(ctx context.Context, ref payload.Ref) (io.ReadCloser, error) {
	if err := ident.CheckDigest(ref.Digest); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stream, err := b.rpc.FetchBlob(ctx, connect.NewRequest(&workerv1.FetchBlobRequest{Digest: ref.Digest}))
	if err != nil {
		cancel()
		return nil, fmt.Errorf("blob %s: %w", ref.Digest, fault.FromConnect(err))
	}
	r := &blobReader{ref: ref, stream: stream, cancel: cancel, hash: sha256.New()}
	// The first frame tells whether there is such a blob at all.
	if err := r.next(); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// ReadAll returns a whole, verified blob of at most limit bytes.
func (b *Bulk) ReadAll(ctx context.Context, digest string, limit int64) ([]byte, error) {
	if err := ident.CheckDigest(digest); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := b.rpc.FetchBlob(ctx, connect.NewRequest(&workerv1.FetchBlobRequest{Digest: digest}))
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", digest, fault.FromConnect(err))
	}
	defer stream.Close() //nolint:errcheck // what has been read is verified
	var data []byte
	for stream.Receive() {
		if data = append(data, stream.Msg().GetData()...); int64(len(data)) > limit {
			return nil, fault.New(fault.Exhausted, "blob %s: larger than %d bytes", digest, limit)
		}
	}
	if err := stream.Err(); err != nil {
		return nil, fmt.Errorf("blob %s: %w", digest, fault.FromConnect(err))
	}
	if got := ident.Digest(data); got != digest {
		return nil, fault.New(fault.DataLoss, "blob %s: what came has the digest %s", digest, got)
	}
	return data, nil
}

type blobReader struct {
	ref    payload.Ref
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
	case r.read != r.ref.Size || "sha256:"+hex.EncodeToString(r.hash.Sum(nil)) != r.ref.Digest:
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
func (b *Bulk) Add(ctx context.Context, data []byte) (ref payload.Ref, stored bool, err error) {
	ref = payload.Ref{Digest: ident.Digest(data), Size: uint64(len(data))}
	if err := b.Claim(ctx, ref.Digest); err == nil || !errors.Is(err, fault.NotFound) {
		return ref, false, err
	}
	w, err := b.Create(ctx)
	if err != nil {
		return ref, false, err
	}
	if _, err := w.Write(data); err != nil {
		w.Abort()
		return ref, false, err
	}
	_, err = w.Commit()
	return ref, err == nil, err
}

// Claim keeps a blob from being removed before it is referred to. Errors: fault.NotFound.
func (b *Bulk) Claim(ctx context.Context, digest string) error {
	if _, err := b.rpc.ClaimBlob(ctx, connect.NewRequest(&workerv1.ClaimBlobRequest{Digest: digest})); err != nil {
		return fmt.Errorf("blob %s: %w", digest, fault.FromConnect(err))
	}
	return nil
}

// Create begins a blob that a container made.
func (b *Bulk) Create(ctx context.Context) (container.BlobWriter, error) {
	ctx, cancel := context.WithCancel(ctx)
	return &blobWriter{stream: b.rpc.StoreBlob(ctx), cancel: cancel, hash: sha256.New()}, nil
}

type blobWriter struct {
	stream *connect.ClientStreamForClient[workerv1.StoreBlobRequest, workerv1.StoreBlobResponse]
	cancel context.CancelFunc
	hash   hash.Hash
	size   uint64
	rest   bytes.Buffer
}

func (w *blobWriter) Write(p []byte) (int, error) {
	w.hash.Write(p)
	w.size += uint64(len(p))
	w.rest.Write(p)
	for w.rest.Len() >= maxFrame {
		if err := w.stream.Send(&workerv1.StoreBlobRequest{Data: w.rest.Next(maxFrame)}); err != nil {
			return 0, w.failure(err)
		}
	}
	return len(p), nil
}

func (w *blobWriter) Commit() (payload.Ref, error) {
	defer w.cancel()
	ref := payload.Ref{Digest: "sha256:" + hex.EncodeToString(w.hash.Sum(nil)), Size: w.size}
	last := &workerv1.StoreBlobRequest{Data: w.rest.Bytes(), Blob: wire.RefToProto(ref)}
	if err := w.stream.Send(last); err != nil {
		return payload.Ref{}, w.failure(err)
	}
	if _, err := w.stream.CloseAndReceive(); err != nil {
		return payload.Ref{}, fmt.Errorf("blob of %d bytes: %w", w.size, fault.FromConnect(err))
	}
	return ref, nil
}

func (w *blobWriter) Abort() {
	w.cancel()
	_, _ = w.stream.CloseAndReceive() // it fails, because it has just been cancelled
}

// failure is why a frame could not be sent: where the peer ended the stream, its answer says it.
func (w *blobWriter) failure(err error) error {
	if errors.Is(err, io.EOF) {
		if _, answer := w.stream.CloseAndReceive(); answer != nil {
			err = answer
		}
	}
	return fmt.Errorf("blob of %d bytes and more: %w", w.size, fault.FromConnect(err))
}
