package server_test

import (
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/identity"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/voltree"
)

func (g *gateway) volumes() skerryv1connect.VolumeServiceClient {
	return skerryv1connect.NewVolumeServiceClient(g.http, g.URL())
}

func file(path, digest string, size uint64) *skerryv1.VolumeChange {
	return &skerryv1.VolumeChange{Kind: &skerryv1.VolumeChange_Put{Put: &skerryv1.VolumePut{Entry: &skerryv1.VolumeEntry{
		Path: path, Type: skerryv1.VolumeEntryType_VOLUME_ENTRY_TYPE_FILE, Mode: 0o640, Size: size,
		ModifiedAt: &timestamppb.Timestamp{Seconds: 1_700_000_000, Nanos: 7}, Content: &skerryv1.VolumeContent{Digest: digest},
	}}}}
}

func TestVolumes(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	v := g.volumes()
	info := call(t, v.GetVolume, &skerryv1.GetVolumeRequest{Name: "data", Creation: skerryv1.ObjectCreation_OBJECT_CREATION_IF_MISSING}).GetInfo()
	if info.GetName() != "data" || info.GetEnvironment() != "main" || info.GetCreatedBy() != "tester" || ident.Check(ident.Volume, info.GetId()) != nil {
		t.Fatalf("%v", info)
	}
	ref, _, err := g.blobs.Add(t.Context(), []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	change := func(changes ...*skerryv1.VolumeChange) (*skerryv1.ChangeVolumeResponse, error) {
		stream := v.ChangeVolume(t.Context())
		request := ident.Random(22)
		for _, c := range changes {
			if err := stream.Send(&skerryv1.ChangeVolumeRequest{VolumeId: info.GetId(), RequestId: request, Changes: []*skerryv1.VolumeChange{c}}); err != nil {
				break // the answer says why
			}
		}
		res, err := stream.CloseAndReceive()
		if err != nil {
			return nil, err
		}
		return res.Msg, nil
	}
	res, err := change(file("a/b.txt", ref.Digest, 5), file("c", ref.Digest, 5), file("d", ident.Digest([]byte("missing")), 7))
	if err != nil || len(res.GetMissingDigests()) != 1 || res.GetVersion() != nil {
		t.Fatalf("%v, %v", res, err)
	}
	res, err = change(file("a/b.txt", ref.Digest, 5), file("c", ref.Digest, 5))
	if err != nil || res.GetVersion().GetVersion() != 2 || res.GetVersion().GetReason() != "upload" || res.GetVersion().GetNumBytes() != 10 {
		t.Fatalf("%v, %v", res, err)
	}
	files, err := v.ListVolumeFiles(t.Context(), connect.NewRequest(&skerryv1.ListVolumeFilesRequest{VolumeId: info.GetId(), Recursive: true}))
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for files.Receive() {
		for _, e := range files.Msg().GetEntries() {
			paths = append(paths, e.GetPath())
			if e.GetPath() == "c" && (e.GetMode() != 0o640 || e.GetModifiedAt().GetNanos() != 7 || e.GetSize() != 5 || e.GetContent() != nil) {
				t.Errorf("%v", e)
			}
		}
	}
	if files.Err() != nil || len(paths) != 3 || paths[1] != "a/b.txt" {
		t.Errorf("%q, %v", paths, files.Err())
	}
	read, err := v.ReadVolumeFile(t.Context(), connect.NewRequest(&skerryv1.ReadVolumeFileRequest{VolumeId: info.GetId(), Path: "a/b.txt", Offset: 1}))
	if err != nil {
		t.Fatal(err)
	}
	var content string
	for read.Receive() {
		content += string(read.Msg().GetData())
	}
	if read.Err() != nil || content != "ello" {
		t.Errorf("%q, %v", content, read.Err())
	}
	_, err = change(&skerryv1.VolumeChange{Kind: &skerryv1.VolumeChange_Remove{Remove: &skerryv1.VolumeRemove{Path: "x"}}})
	wantCode(t, err, connect.CodeNotFound, `"x"`)
	_, err = change(&skerryv1.VolumeChange{})
	wantCode(t, err, connect.CodeInvalidArgument, "newer")
	wantCode(t, fails(t, v.CommitVolume, &skerryv1.CommitVolumeRequest{VolumeId: info.GetId()}), connect.CodeFailedPrecondition, "only containers")
	wantCode(t, fails(t, v.DescribeVolume, &skerryv1.DescribeVolumeRequest{VolumeId: ident.New(ident.Volume)}), connect.CodeNotFound, "volume")
	call(t, v.DeleteVolume, &skerryv1.DeleteVolumeRequest{VolumeId: info.GetId()})
	if list := call(t, v.ListVolumes, &skerryv1.ListVolumesRequest{}).GetVolumes(); len(list) != 0 {
		t.Errorf("%v", list)
	}
}

func TestWorkersCommitToVolumes(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	id := call(t, g.volumes().GetVolume, &skerryv1.GetVolumeRequest{Creation: skerryv1.ObjectCreation_OBJECT_CREATION_EPHEMERAL}).GetInfo().GetId()
	cred, err := g.Tokens().Create(t.Context(), "w", identity.Worker)
	if err != nil {
		t.Fatal(err)
	}
	w := workerv1connect.NewVolumeStoreServiceClient(g.client(t, cred.Encode()), g.URL())
	opened := call(t, w.OpenVolume, &workerv1.OpenVolumeRequest{VolumeId: id})
	reader := voltree.NewReader(g.blobs, 0)
	if root, err := reader.Root(t.Context(), opened.GetRoot()); err != nil || root.Totals.Files != 0 || opened.GetVersion() != 1 {
		t.Errorf("%+v, %v", root, err)
	}
	ref, _, err := g.blobs.Add(t.Context(), []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	stream := w.CommitChanges(t.Context())
	err = stream.Send(&workerv1.CommitChangesRequest{
		VolumeId: id, RequestId: ident.Random(22), ContainerId: ident.New(ident.Container), Changes: []*skerryv1.VolumeChange{file("a", ref.Digest, 5), file("a/b", ref.Digest, 5)},
	})
	if err != nil {
		t.Fatal(err)
	}
	res, err := stream.CloseAndReceive()
	if err != nil {
		t.Fatal(err)
	}
	if root, err := reader.Root(t.Context(), res.Msg.GetRoot()); err != nil || root.Totals.Files != 1 || root.Totals.Folders != 1 || res.Msg.GetVersion() != 2 {
		t.Errorf("%+v, %v", root, err)
	}
	call(t, w.HoldVersions, &workerv1.HoldVersionsRequest{Roots: []string{res.Msg.GetRoot(), ident.Digest([]byte("nobody's"))}})
	admin := workerv1connect.NewVolumeStoreServiceClient(g.http, g.URL())
	wantCode(t, fails(t, admin.OpenVolume, &workerv1.OpenVolumeRequest{VolumeId: id}), connect.CodePermissionDenied, "")
}
