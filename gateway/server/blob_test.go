package server_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"connectrpc.com/connect"

	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

func (g *gateway) upload(t *testing.T, digest string, size uint64, content []byte) error {
	t.Helper()
	stream := g.blob.Upload(t.Context())
	ref := &skerryv1.BlobRef{Digest: digest, Size: size}
	for first := true; first || len(content) > 0; first = false {
		n := min(len(content), 1<<20)
		if err := stream.Send(&skerryv1.UploadRequest{Blob: ref, Data: content[:n]}); err != nil {
			break // CloseAndReceive says why
		}
		content, ref = content[n:], nil
	}
	_, err := stream.CloseAndReceive()
	return err
}

func (g *gateway) download(t *testing.T, digest string, offset uint64) ([]byte, error) {
	t.Helper()
	stream, err := g.blob.Download(t.Context(), connect.NewRequest(&skerryv1.DownloadRequest{Digest: digest, Offset: offset}))
	if err != nil {
		return nil, err
	}
	var got []byte
	for stream.Receive() {
		got = append(got, stream.Msg().GetData()...)
	}
	return got, stream.Err()
}

func TestBlobs(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	content := bytes.Repeat([]byte("0123456789abcdef"), 200_000) // 3.2 MB: several frames
	digest, size := ident.Digest(content), uint64(len(content))
	for range 2 {
		if err := g.upload(t, digest, size, content); err != nil {
			t.Fatal(err)
		}
	}
	for _, offset := range []uint64{0, 1, 1 << 20, size} {
		if got, err := g.download(t, digest, offset); err != nil || !bytes.Equal(got, content[offset:]) {
			t.Errorf("from %d: %d bytes, %v", offset, len(got), err)
		}
	}
	_, err := g.download(t, digest, size+1)
	wantCode(t, err, connect.CodeInvalidArgument, "past its end")
	_, err = g.download(t, ident.Digest([]byte("other")), 0)
	wantCode(t, err, connect.CodeNotFound, "not stored")
	other := ident.Digest([]byte("other"))
	wantCode(t, g.upload(t, other, 5, []byte("wrong")), connect.CodeInvalidArgument, "the content's digest is")
	wantCode(t, g.upload(t, other, 4, []byte("other")), connect.CodeInvalidArgument, "announced")
	wantCode(t, g.upload(t, other, 6, []byte("other")), connect.CodeInvalidArgument, "announced")
	wantCode(t, g.upload(t, other, payload.MaxSize+1, []byte("other")), connect.CodeResourceExhausted, "limit")
	wantCode(t, g.upload(t, "sha256:../x", 5, []byte("other")), connect.CodeInvalidArgument, "digest")
	if _, err := g.blob.Upload(t.Context()).CloseAndReceive(); err == nil {
		t.Error("an upload without frames succeeded")
	}
	if _, err := g.download(t, other, 0); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("after refused uploads: %v", err)
	}
	if err := g.upload(t, ident.Digest(nil), 0, nil); err != nil {
		t.Errorf("an empty blob: %v", err)
	}
}

func TestMounts(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	a, b := []byte("print(1)\n"), []byte("print(2)\n")
	file := func(path string, content []byte) *skerryv1.MountFile {
		return &skerryv1.MountFile{Path: path, Digest: ident.Digest(content), Size: uint64(len(content)), Mode: 0o644}
	}
	req := &skerryv1.CreateMountRequest{Files: []*skerryv1.MountFile{file("pkg/b.py", b), file("a.py", a), file("pkg/c.py", b)}}
	missing := call(t, g.mount.CreateMount, req)
	if missing.GetTreeDigest() != "" || len(missing.GetMissingDigests()) != 2 {
		t.Fatalf("CreateMount = %v", missing)
	}
	for _, content := range [][]byte{a, b} {
		if err := g.blobs.Put(t.Context(), ident.Digest(content), uint64(len(content)), bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	made := call(t, g.mount.CreateMount, req)
	req.Files[0], req.Files[1] = req.Files[1], req.Files[0]
	if again := call(t, g.mount.CreateMount, req); made.GetTreeDigest() == "" || again.GetTreeDigest() != made.GetTreeDigest() {
		t.Errorf("digest %q, then %q in another order", made.GetTreeDigest(), again.GetTreeDigest())
	}
	for name, files := range map[string][]*skerryv1.MountFile{
		"none": nil, "absolute": {file("/a", a)}, "up": {file("x/../../a", a)}, "twice": {file("a", a), file("a", a)},
		"file as folder": {file("a", a), file("a/b", b)}, "dot beside others": {file(".", a), file("a", b)}, "zero": {file("a\x00", a)},
		"empty part": {file("a//b", a)}, "long": {file(strings.Repeat("x", 256), a)},
		"size": {{Path: "a", Digest: ident.Digest(a), Size: 1}}, "digest": {{Path: "a", Digest: "md5:1"}},
	} {
		if _, err := g.mount.CreateMount(t.Context(), connect.NewRequest(&skerryv1.CreateMountRequest{Files: files})); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	single := call(t, g.mount.CreateMount, &skerryv1.CreateMountRequest{Files: []*skerryv1.MountFile{file(".", a)}})
	r, err := g.blobs.Open(t.Context(), single.GetTreeDigest(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() // only read
	if tree, err := io.ReadAll(r); err != nil || !strings.Contains(string(tree), `"path":"."`) {
		t.Errorf("tree = %s, %v", tree, err)
	}
}
