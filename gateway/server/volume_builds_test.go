package server_test

import (
	"context"
	"errors"
	"testing"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/identity"
	buildv1 "github.com/skerry-dev/skerry/internal/gen/skerry/build/v1"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
)

// TestBuildersUseVolumesOfTheirRecipes alone, those that are read alone not to write to, and nobody else's.
func TestBuildersUseVolumesOfTheirRecipes(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	written, read, alien := g.ephemeralVolume(t), g.ephemeralVolume(t), g.ephemeralVolume(t)
	token := g.Tokens().Ephemeral("builder", identity.Builder)
	store := workerv1connect.NewVolumeStoreServiceClient(g.client(t, token.Encode()), g.URL())
	other := workerv1connect.NewVolumeStoreServiceClient(g.client(t, g.Tokens().Ephemeral("other", identity.Builder).Encode()), g.URL())
	ref, _, err := g.blobs.Add(t.Context(), []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	commit := func(s workerv1connect.VolumeStoreServiceClient, id, by string) error {
		stream := s.CommitChanges(t.Context())
		sent := stream.Send(&workerv1.CommitChangesRequest{
			VolumeId: id, RequestId: ident.Random(22), ContainerId: by, Changes: []*skerryv1.VolumeChange{file("a", ref.Digest, 5)},
		})
		_, err := stream.CloseAndReceive()
		return errors.Join(err, sent)
	}
	step := ident.New(ident.BuildStep)
	wantCode(t, commit(store, written, step), connect.CodeNotFound, "not of a recipe")
	g.join(t, &fakeBuilder{token: token, build: func(_ context.Context, _ *buildv1.BuildRequest, send func(*buildv1.BuildResponse)) error {
		for _, id := range []string{written, read} {
			call(t, store.OpenVolume, &workerv1.OpenVolumeRequest{VolumeId: id})
		}
		wantCode(t, fails(t, store.OpenVolume, &workerv1.OpenVolumeRequest{VolumeId: alien}), connect.CodeNotFound, "not of a recipe")
		wantCode(t, fails(t, other.OpenVolume, &workerv1.OpenVolumeRequest{VolumeId: written}), connect.CodeNotFound, "not of a recipe")
		wantCode(t, commit(store, read, step), connect.CodeNotFound, "not of a recipe")
		wantCode(t, commit(other, written, step), connect.CodeNotFound, "not of a recipe")
		wantCode(t, commit(store, written, ident.New(ident.Container)), connect.CodeInvalidArgument, "bs-")
		if err := commit(store, written, step); err != nil {
			t.Error(err)
		}
		send(built())
		return nil
	}})
	events, err := g.buildImage(t, &skerryv1.BuildImageRequest{
		AppId: g.create(t, skerryv1.AppState_APP_STATE_EPHEMERAL), Recipe: seeing(map[string]*skerryv1.StepVolume{
			"/w": {VolumeId: written, SubPath: "x"}, "/r": {VolumeId: read, ReadOnly: true},
		}),
	})
	builtID(t, events, err)
	if err := commit(store, written, step); err != nil {
		t.Errorf("a commit that comes late: %v", err)
	}
}

func TestVolumesOfRecipesAreChecked(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	g.join(t, g.instantly(t))
	id, app := g.ephemeralVolume(t), g.create(t, skerryv1.AppState_APP_STATE_EPHEMERAL)
	build := func(appID string, volumes map[string]*skerryv1.StepVolume) (string, error) {
		events, err := g.buildImage(t, &skerryv1.BuildImageRequest{AppId: appID, Recipe: seeing(volumes)})
		if err != nil {
			return "", err
		}
		return events[len(events)-1].GetBuilt().GetImageId(), nil
	}
	for _, c := range []struct {
		app     string
		volumes map[string]*skerryv1.StepVolume
		code    connect.Code
		text    string
	}{
		{app, map[string]*skerryv1.StepVolume{"/root": {VolumeId: id}}, connect.CodeInvalidArgument, "not for volumes"},
		{app, map[string]*skerryv1.StepVolume{"/a": {VolumeId: id}, "/b": {VolumeId: id}}, connect.CodeInvalidArgument, "mount it once"},
		{app, map[string]*skerryv1.StepVolume{"/a": {VolumeId: id, SubPath: "../x"}}, connect.CodeInvalidArgument, "sub_path"},
		{app, map[string]*skerryv1.StepVolume{"/a": {VolumeId: "x"}}, connect.CodeInvalidArgument, "vo-"},
		{app, map[string]*skerryv1.StepVolume{"/a": {VolumeId: ident.New(ident.Volume)}}, connect.CodeNotFound, ""},
		{"", map[string]*skerryv1.StepVolume{"/a": {VolumeId: id}}, connect.CodeInvalidArgument, "build it in an app"},
	} {
		_, err := build(c.app, c.volumes)
		wantCode(t, err, c.code, c.text)
	}
	pip := slim("3.11", "six")
	pip.Steps[0].Volumes = map[string]*skerryv1.StepVolume{"/a": {VolumeId: id}}
	_, err := g.buildImage(t, &skerryv1.BuildImageRequest{AppId: app, Recipe: pip})
	wantCode(t, err, connect.CodeInvalidArgument, "only steps that run")
	// Which volume it is, where and how, is a part of what an image is.
	seen := map[string]bool{}
	for _, volumes := range []map[string]*skerryv1.StepVolume{
		nil, {"/a": {VolumeId: id}}, {"/b": {VolumeId: id}}, {"/a": {VolumeId: id, ReadOnly: true}}, {"/a": {VolumeId: g.ephemeralVolume(t)}},
	} {
		image, err := build(app, volumes)
		if err != nil {
			t.Fatal(err)
		}
		seen[image] = true
	}
	if len(seen) != 5 {
		t.Errorf("%d images of 5", len(seen))
	}
	// Nothing of another environment.
	call(t, g.environments().CreateEnvironment, &skerryv1.CreateEnvironmentRequest{Name: "other"})
	away := call(t, g.volumes().GetVolume, &skerryv1.GetVolumeRequest{
		Environment: "other", Creation: skerryv1.ObjectCreation_OBJECT_CREATION_EPHEMERAL,
	}).GetInfo().GetId()
	_, err = build(app, map[string]*skerryv1.StepVolume{"/a": {VolumeId: away}})
	wantCode(t, err, connect.CodeNotFound, "not one of the environment")
}

// ephemeralVolume returns the id of a new volume.
func (g *gateway) ephemeralVolume(t *testing.T) string {
	t.Helper()
	return call(t, g.volumes().GetVolume, &skerryv1.GetVolumeRequest{Creation: skerryv1.ObjectCreation_OBJECT_CREATION_EPHEMERAL}).GetInfo().GetId()
}

// seeing is a recipe whose step sees volumes.
func seeing(volumes map[string]*skerryv1.StepVolume) *skerryv1.Recipe {
	r := slim("3.11")
	r.Steps = []*skerryv1.Step{{
		Kind: &skerryv1.Step_RunCommands{RunCommands: &skerryv1.RunCommands{Commands: []string{"true"}}}, Volumes: volumes,
	}}
	return r
}
