package server_test

import (
	"strings"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/server"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/ident"
)

// stored uploads a blob and returns its digest.
func (g *gateway) stored(t *testing.T, content string) string {
	t.Helper()
	digest := ident.Digest([]byte(content))
	if err := g.upload(t, digest, uint64(len(content)), []byte(content)); err != nil {
		t.Fatal(err)
	}
	return digest
}

// tree makes a mount of one file and returns the digests of both.
func (g *gateway) tree(t *testing.T, content string) (tree, file string) {
	t.Helper()
	file = g.stored(t, content)
	made := call(t, g.mount.CreateMount, &skerryv1.CreateMountRequest{Files: []*skerryv1.MountFile{
		{Path: "code.py", Digest: file, Size: uint64(len(content)), Mode: 0o644},
	}})
	return made.GetTreeDigest(), file
}

func TestWhatNothingRefersToIsRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g, stop := startIn(t, dir, nil)
	g.join(t, g.instantly(t))
	events, err := g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: slim("3.11")})
	if err != nil {
		t.Fatal(err)
	}
	image := events[len(events)-1].GetBuilt().GetImageId()
	orphan := g.stored(t, "orphan")
	code := g.stored(t, "pickled code")
	mounted, mountedFile := g.tree(t, "print(1)")
	unused, unusedFile := g.tree(t, "print(2)")
	d := function("f", image)
	d.Mounts = []*skerryv1.Mount{{RemotePath: "/root", TreeDigest: mounted}}
	d.Module, d.Qualname = "", ""
	d.Serialized = &skerryv1.Payload{Format: skerryv1.PayloadFormat_PAYLOAD_FORMAT_PICKLE, Content: &skerryv1.Payload_Blob{
		Blob: &skerryv1.BlobRef{Digest: code, Size: uint64(len("pickled code"))},
	}}
	app := g.create(t, skerryv1.AppState_APP_STATE_INITIALIZING)
	call(t, g.app.PublishApp, &skerryv1.PublishAppRequest{AppId: app, Name: "kept", Functions: []*skerryv1.FunctionDefinition{d}})
	stop()

	g, stop = startIn(t, dir, func(c *server.Config) { c.BlobGrace = time.Nanosecond })
	defer stop()
	for {
		more := g.log.written()
		if strings.Contains(g.log.String(), "blobs removed that nothing refers to") {
			break
		}
		select {
		case <-more:
		case <-t.Context().Done():
			t.Fatal(g.log)
		}
	}
	for name, c := range map[string]struct {
		digest string
		want   bool
	}{
		"image": {ident.Digest(erofs), true}, "code": {code, true}, "mount": {mounted, true}, "its file": {mountedFile, true},
		"orphan": {orphan, false}, "unused tree": {unused, false}, "its file ": {unusedFile, false},
	} {
		if has, err := g.blobs.Has(t.Context(), c.digest); err != nil || has != c.want {
			t.Errorf("%s: %t, %v", name, has, err)
		}
	}
	// What is gone can be made again.
	if again, _ := g.tree(t, "print(2)"); again != unused {
		t.Errorf("tree %s, want %s", again, unused)
	}
}
