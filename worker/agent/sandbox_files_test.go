package agent

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/skerry-dev/skerry/internal/erofs"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/wire"
)

// Add implements cas.Sink, Claim what goes with it.
func (s *memorySource) Add(_ context.Context, data []byte) (ref payload.Ref, stored bool, err error) {
	return s.blob(string(data)), true, nil
}

// ClaimBlob has blobs that are here stay.
func (g *gateway) ClaimBlob(ctx context.Context, r *connect.Request[workerv1.ClaimBlobRequest]) (*connect.Response[workerv1.ClaimBlobResponse], error) {
	if _, err := g.source.Open(ctx, g.source.ref(r.Msg.GetDigest())); err != nil {
		return nil, fault.ToConnect(err)
	}
	return connect.NewResponse(&workerv1.ClaimBlobResponse{Size: g.source.ref(r.Msg.GetDigest()).Size}), nil
}

// chunkedBase stores a part of the test base, in chunks.
func (g *gateway) chunkedBase(t *testing.T) payload.Ref {
	t.Helper()
	f, err := os.Open(g.base)
	ok(t, err)
	defer f.Close()
	whole, whole2 := io.Pipe()
	part, part2 := io.Pipe()
	go func() { _ = whole2.CloseWithError(erofs.ToTar(t.Context(), f, whole2)) }()
	go func() {
		out := tar.NewWriter(part2)
		err := erofs.Entries(whole)(t.Context(), func(h *tar.Header, content io.Reader) error {
			for _, leave := range []string{"var/", "usr/share/", "usr/sbin/", "usr/lib/python3", "usr/lib/x86_64-linux-gnu/perl"} {
				if strings.HasPrefix(h.Name, leave) {
					return nil
				}
			}
			err := out.WriteHeader(h)
			if err == nil {
				_, err = io.Copy(out, content)
			}
			return err
		})
		_ = part2.CloseWithError(errors.Join(err, out.Close()))
	}()
	done, err := erofs.Store(t.Context(), erofs.Params{Tar: part, Dir: t.TempDir(), Sink: g.source})
	ok(t, err)
	return done.File
}

// TestSandboxFiles makes an image of a sandbox's files, starts another from it, and shows it in a third.
func TestSandboxFiles(t *testing.T) {
	g, data, tools := newSandboxGateway(t)
	stop := g.inProcess(t, data, tools)
	defer stop()
	base := g.chunkedBase(t)
	run := func(id, command string) string {
		t.Helper()
		out, exit := follow(t, startProcess(t, g.processes(id), &skerryv1.StartProcessRequest{ProcessId: "p-" + ident.Random(8), Argv: []string{"sh", "-c", command}}))
		if exit.GetExitCode() != 0 {
			t.Errorf("%s: %q, %v", command, out, exit)
		}
		return out
	}
	begin := func(image payload.Ref) string {
		spec := g.spec()
		spec.Image, spec.ImageChunked = wire.RefToProto(image), true
		return g.start(t, spec)
	}
	first := begin(base)
	run(first, "mkdir -p /work/deep && echo kept > /work/deep/file && rm /etc/motd; echo t > /tmp/t")
	res, err := g.states.SnapshotFiles(t.Context(), connect.NewRequest(&workerv1.SnapshotFilesRequest{SandboxId: first, Limit: durationpb.New(time.Minute)}))
	ok(t, err)
	image, err := wire.AnyRefFromProto(res.Msg.GetImage())
	ok(t, err)
	second := begin(image)
	if out := run(second, "cat /work/deep/file /tmp/t; ls /__skerry/skerry-init; hostname; cat /etc/hosts | wc -l"); out != "kept\nt\n/__skerry/skerry-init\n"+strings.ToLower(second)+"\n2\n" {
		t.Errorf("the second has %q", out)
	}

	_, err = g.states.MountImage(t.Context(), connect.NewRequest(&workerv1.MountImageRequest{SandboxId: second, Path: "/shown", Image: res.Msg.GetImage(), ImageChunked: true}))
	ok(t, err)
	if out := run(second, "cat /shown/work/deep/file; echo more > /shown/work/new && ls /shown/work"); out != "kept\ndeep\nnew\n" {
		t.Errorf("what is shown has %q", out)
	}
	_, err = g.states.SnapshotMemory(t.Context(), connect.NewRequest(&workerv1.SnapshotMemoryRequest{SandboxId: second, SnapshotId: ident.New(ident.Snapshot)}))
	if connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("a snapshot with an image that is shown: %v", err)
	}
	_, err = g.states.UnmountImage(t.Context(), connect.NewRequest(&workerv1.UnmountImageRequest{SandboxId: second, Path: "/shown"}))
	ok(t, err)
	if out := run(second, "ls /shown"); out != "" {
		t.Errorf("what was shown still has %q", out)
	}
	folder, err := g.states.SnapshotFiles(t.Context(), connect.NewRequest(&workerv1.SnapshotFilesRequest{SandboxId: first, Path: "/work"}))
	ok(t, err)
	if folder.Msg.GetImage().GetSize() == 0 {
		t.Errorf("folder %v", folder.Msg)
	}
	_, err = g.states.SnapshotFiles(t.Context(), connect.NewRequest(&workerv1.SnapshotFilesRequest{SandboxId: first, Path: "/no/such"}))
	if connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("no folder: %v", err)
	}
}
