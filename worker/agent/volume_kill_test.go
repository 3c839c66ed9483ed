package agent

import (
	"context"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/link"
	"github.com/skerry-dev/skerry/internal/voltree"
	"github.com/skerry-dev/skerry/worker/volume/shelf"
)

// shelfService serves a shelf to workers.
type shelfService struct{ shelf *shelf.Shelf }

func (s shelfService) OpenVolume(ctx context.Context, r *connect.Request[workerv1.OpenVolumeRequest]) (*connect.Response[workerv1.OpenVolumeResponse], error) {
	v, err := s.shelf.OpenVolume(ctx, r.Msg.GetVolumeId())
	if err != nil {
		return nil, fault.ToConnect(err)
	}
	return connect.NewResponse(&workerv1.OpenVolumeResponse{Version: v.Number, Root: v.Root}), nil
}

func (s shelfService) HoldVersions(context.Context, *connect.Request[workerv1.HoldVersionsRequest]) (*connect.Response[workerv1.HoldVersionsResponse], error) {
	return connect.NewResponse(&workerv1.HoldVersionsResponse{}), nil
}

func (s shelfService) CommitChanges(
	ctx context.Context, stream *connect.ClientStream[workerv1.CommitChangesRequest],
) (*connect.Response[workerv1.CommitChangesResponse], error) {
	var id string
	var list []voltree.Change
	for stream.Receive() {
		if m := stream.Msg(); m.GetVolumeId() != "" {
			id = m.GetVolumeId()
		}
		for _, c := range stream.Msg().GetChanges() {
			list = append(list, changeFromProto(c))
		}
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	v, err := s.shelf.Change(ctx, id, list)
	if err != nil {
		return nil, fault.ToConnect(err)
	}
	return connect.NewResponse(&workerv1.CommitChangesResponse{Version: v.Number, Root: v.Root}), nil
}

func changeFromProto(m *skerryv1.VolumeChange) voltree.Change {
	if r := m.GetRemove(); r != nil {
		return voltree.Change{Verb: voltree.Remove, Path: r.GetPath(), Recursive: r.GetRecursive(), MissingOK: r.GetMissingOk()}
	}
	e := m.GetPut().GetEntry()
	c := e.GetContent()
	return voltree.Change{Verb: voltree.Put, Path: e.GetPath(), Entry: voltree.Entry{
		Type: voltree.Type(e.GetType()), Mode: e.GetMode(), UID: e.GetUid(), GID: e.GetGid(), Modified: e.GetModifiedAt().AsTime().UnixNano(),
		Size: e.GetSize(), Target: e.GetTarget(), Inode: e.GetInode(),
		Content: voltree.Content{Digest: c.GetDigest(), Offset: c.GetOffset(), Chunked: c.GetChunked()},
	}}
}

// What a sandbox has written outlives the worker, and is committed through the next one; a reload is refused while files are open.
func TestVolumeOutlivesWorker(t *testing.T) {
	g, data, tools := newSandboxGateway(t)
	volumeID := ident.New(ident.Volume)
	_, err := g.shelf.Change(t.Context(), volumeID, nil)
	ok(t, err)
	child := g.worker(t, data, tools, "")
	spec := g.spec("sh", "-c", "exec 3>/data/open; echo before > /data/x; read go; echo after >> /data/x; exec 3>&-; sleep 1000")
	spec.Definition.VolumeMounts = []*skerryv1.VolumeMount{{MountPath: "/data", VolumeId: volumeID}}
	id := g.start(t, spec)
	g.await(t, id, runs)
	written := func(what string) {
		t.Helper()
		next := startProcess(t, g.processes(id), &skerryv1.StartProcessRequest{
			ProcessId: ident.New("p"), Argv: []string{"sh", "-c", "until grep -q " + what + " /data/x; do :; done"},
		})
		for end := false; !end; {
			m, err := next()
			ok(t, err)
			end = m.GetExited() != nil
		}
	}
	written("before")
	ok(t, child.Process.Kill())
	_ = child.Wait() // killed
	child = g.worker(t, data, tools, "")
	if s := g.first[id]; !runs(s) || !s.GetAdopted() {
		t.Fatalf("status %v", s)
	}
	mounted := workerv1connect.NewMountedVolumeServiceClient(g.control.HTTPClient(), link.BaseURL)
	_, err = mounted.ReloadMounted(t.Context(), connect.NewRequest(&workerv1.ReloadMountedRequest{ContainerId: id}))
	if connect.CodeOf(err) != connect.CodeFailedPrecondition || !strings.Contains(err.Error(), "path /data/open is open from 'sh -c exec") {
		t.Errorf("reload with an open file: %v", err)
	}
	_, err = g.processes(id).WriteProcessInput(t.Context(), connect.NewRequest(&skerryv1.WriteProcessInputRequest{ProcessId: "main", Data: []byte("go\n")}))
	ok(t, err)
	written("after")
	_, err = mounted.CommitMounted(t.Context(), connect.NewRequest(&workerv1.CommitMountedRequest{ContainerId: id, VolumeId: volumeID}))
	ok(t, err)
	if got := g.shelf.Text(t, volumeID, "x"); got != "before\nafter\n" {
		t.Errorf("committed: %q", got)
	}
	_, err = mounted.ReloadMounted(t.Context(), connect.NewRequest(&workerv1.ReloadMountedRequest{ContainerId: id}))
	ok(t, err)
	next := startProcess(t, g.processes(id), &skerryv1.StartProcessRequest{ProcessId: "p-w", Argv: []string{"sh", "-c", "echo last > /data/y"}})
	for end := false; !end; {
		m, err := next()
		ok(t, err)
		end = m.GetExited() != nil
	}
	// The worker is killed, the sandbox ends meanwhile: what it had written is committed when there is a worker again.
	ok(t, child.Process.Kill())
	_ = child.Wait() // killed
	stop := g.inProcess(t, data, tools)
	_, err = g.rpc.StopSandbox(t.Context(), connect.NewRequest(&workerv1.StopSandboxRequest{SandboxId: id}))
	ok(t, err)
	g.await(t, id, ended)
	if got := g.shelf.Text(t, volumeID, "y"); got != "last\n" {
		t.Errorf("at its end: %q", got)
	}
	stop()
	nothingOf(t, id)
}
