package server_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"

	buildv1 "github.com/skerry-dev/skerry/internal/gen/skerry/build/v1"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/ident"
)

// builderOf is a builder that notes what it is asked and says a line for each build.
func builderOf(requests chan<- *buildv1.BuildRequest, fail *atomic.Bool) *fakeBuilder {
	return &fakeBuilder{build: func(_ context.Context, req *buildv1.BuildRequest, send func(*buildv1.BuildResponse)) error {
		requests <- req
		send(&buildv1.BuildResponse{Event: &buildv1.BuildResponse_Step{Step: &skerryv1.BuildStep{
			Number: 1, Total: 1, Name: "it", State: skerryv1.BuildStepState_BUILD_STEP_STATE_DONE, RecipeStep: 1,
		}}})
		send(logEvent("a line of " + req.GetImageId()))
		if fail.Load() {
			send(&buildv1.BuildResponse{Event: &buildv1.BuildResponse_Failed{Failed: &skerryv1.BuildFailed{Step: "it", RecipeStep: 2}}})
			return nil
		}
		send(built())
		return nil
	}}
}

func builtID(t *testing.T, events []*skerryv1.BuildImageResponse, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return events[len(events)-1].GetBuilt().GetImageId()
}

func TestNamesOfImages(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	var fail atomic.Bool
	requests := make(chan *buildv1.BuildRequest, 10)
	g.join(t, builderOf(requests, &fail))
	events, err := g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: slim("3.11", "a")})
	a := builtID(t, events, err)
	events, err = g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: slim("3.11", "b")})
	b := builtID(t, events, err)
	name := &skerryv1.GetImageByNameRequest{Name: "trainer"}
	wantCode(t, fails(t, g.image.GetImageByName, name), connect.CodeNotFound, "trainer:latest")
	call(t, g.image.PublishImage, &skerryv1.PublishImageRequest{Name: "trainer", ImageId: a})
	call(t, g.image.PublishImage, &skerryv1.PublishImageRequest{Name: "trainer", ImageId: a, Tag: "v1"})
	call(t, g.image.PublishImage, &skerryv1.PublishImageRequest{Name: "trainer", ImageId: b, IsPublic: true})
	if got := call(t, g.image.GetImageByName, name).GetImageId(); got != b {
		t.Errorf("got %s", got)
	}
	names := call(t, g.image.ListImageNames, &skerryv1.ListImageNamesRequest{Prefix: "tr"}).GetNames()
	if len(names) != 2 || names[0].GetName() != "trainer:latest" || names[0].GetImageId() != b || names[1].GetName() != "trainer:v1" {
		t.Errorf("names %v", names)
	}
	if got := call(t, g.image.ListImageNames, &skerryv1.ListImageNamesRequest{Prefix: "x"}).GetNames(); len(got) != 0 {
		t.Errorf("names %v", got)
	}
	past := call(t, g.image.ListImageNames, &skerryv1.ListImageNamesRequest{HistoryOf: "trainer:latest"}).GetNames()
	if len(past) != 2 || past[0].GetImageId() != b || past[1].GetImageId() != a {
		t.Errorf("history %v", past)
	}
	for _, bad := range []*skerryv1.PublishImageRequest{
		{Name: "im-x", ImageId: a}, {Name: "a b", ImageId: a}, {Name: "a", Tag: "x y", ImageId: a}, {Name: "a", ImageId: "a"},
	} {
		wantCode(t, fails(t, g.image.PublishImage, bad), connect.CodeInvalidArgument, "")
	}
	wantCode(t, fails(t, g.image.PublishImage, &skerryv1.PublishImageRequest{Name: "a", ImageId: ident.New(ident.Image)}), connect.CodeNotFound, "")

	images := call(t, g.image.ListImages, &skerryv1.ListImagesRequest{}).GetImages()
	if len(images) != 2 || images[0].GetSize() == 0 || len(images[0].GetNames())+len(images[1].GetNames()) != 2 {
		t.Errorf("images %v", images)
	}
	wantCode(t, fails(t, g.image.DeleteImage, &skerryv1.DeleteImageRequest{ImageId: b}), connect.CodeFailedPrecondition, "trainer:latest")
	call(t, g.image.PublishImage, &skerryv1.PublishImageRequest{Name: "trainer", ImageId: a})
	call(t, g.image.DeleteImage, &skerryv1.DeleteImageRequest{ImageId: b})
	wantCode(t, fails(t, g.image.GetImage, &skerryv1.GetImageRequest{ImageId: b}), connect.CodeNotFound, "")
	wantCode(t, fails(t, g.image.DeleteImage, &skerryv1.DeleteImageRequest{ImageId: b}), connect.CodeNotFound, "")
}

func TestLogsOfBuilds(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	var fail atomic.Bool
	requests := make(chan *buildv1.BuildRequest, 10)
	g.join(t, builderOf(requests, &fail))
	for _, failing := range []bool{false, true} {
		fail.Store(failing)
		recipe := slim("3.11", "a")
		if failing {
			recipe = slim("3.11", "b")
		}
		if _, err := g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: recipe}); err != nil {
			t.Fatal(err)
		}
		id := (<-requests).GetImageId()
		steps := call(t, g.image.GetImageLog, &skerryv1.GetImageLogRequest{ImageId: id}).GetSteps()
		if len(steps) != 1 || steps[0].GetStep().GetName() != "it" || steps[0].GetLines()[0].GetText() != "a line of "+id {
			t.Errorf("failing %t: log %v", failing, steps)
		}
	}
	wantCode(t, fails(t, g.image.GetImageLog, &skerryv1.GetImageLogRequest{ImageId: ident.New(ident.Image)}), connect.CodeNotFound, "log")
}

// TestImagesOnImages builds on an image that is there: the builder gets where its content is.
func TestImagesOnImages(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	var fail atomic.Bool
	requests := make(chan *buildv1.BuildRequest, 10)
	g.join(t, builderOf(requests, &fail))
	events, err := g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: slim("3.11", "a")})
	id := builtID(t, events, err)
	<-requests
	on := &skerryv1.Recipe{Base: &skerryv1.Base{Kind: &skerryv1.Base_Existing{Existing: &skerryv1.ExistingBase{ImageId: id}}}}
	events, err = g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: on})
	if got := builtID(t, events, err); got != id || len(events) != 1 {
		t.Errorf("nothing more: %v", events)
	}
	on.Steps = slim("3.11", "b").GetSteps()
	fail.Store(true)
	events, err = g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: on})
	if err != nil || events[len(events)-1].GetFailed() == nil {
		t.Errorf("got %v, %v", events, err)
	}
	request := <-requests
	if steps := request.GetRecipe().GetSteps(); len(steps) != 1 || steps[0].GetPipInstall().GetPackages()[0] != "b" {
		t.Errorf("steps %v", steps)
	}
	if got := request.GetExisting().GetErofs().GetDigest(); got != ident.Digest(erofs) {
		t.Errorf("begins with %q", got)
	}
	on.Base.GetExisting().ImageId = ident.New(ident.Image)
	_, err = g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: on})
	wantCode(t, err, connect.CodeNotFound, "image")
}

// TestSecretsOfBuilds checks that builders get what the app's own secrets hold, and that an image is the same whatever it is.
func TestSecretsOfBuilds(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	var fail atomic.Bool
	requests := make(chan *buildv1.BuildRequest, 10)
	g.join(t, builderOf(requests, &fail))
	build := func(appID string, variables map[string]string) ([]*skerryv1.BuildImageResponse, error) {
		recipe := slim("3.11", "a")
		of := g.create(t, skerryv1.AppState_APP_STATE_EPHEMERAL)
		recipe.Steps[0].SecretIds = []string{call(t, g.secret.CreateSecret, &skerryv1.CreateSecretRequest{AppId: of, Variables: variables}).GetSecretId()}
		if appID == "" {
			appID = of
		}
		return g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: recipe, AppId: appID})
	}
	events, err := build("", map[string]string{"TOKEN": "one"})
	id := builtID(t, events, err)
	if s := (<-requests).GetSecrets(); len(s) != 1 || s[0].GetStep() != 1 || s[0].GetVariables()["TOKEN"] != "one" {
		t.Errorf("secrets %v", s)
	}
	events, err = build("", map[string]string{"TOKEN": "two"})
	if got := builtID(t, events, err); got != id || len(requests) != 0 {
		t.Errorf("another value is another image: %s, %s", id, got)
	}
	events, err = build("", map[string]string{"OTHER": "one"})
	if got := builtID(t, events, err); got == id {
		t.Error("another variable is the same image")
	}
	_, err = build(g.create(t, skerryv1.AppState_APP_STATE_EPHEMERAL), map[string]string{"TOKEN": "one"})
	wantCode(t, err, connect.CodeNotFound, "secret")
}

func TestIgnoringTheCache(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	var fail atomic.Bool
	requests := make(chan *buildv1.BuildRequest, 10)
	g.join(t, builderOf(requests, &fail))
	events, err := g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: slim("3.11", "a")})
	id := builtID(t, events, err)
	<-requests
	events, err = g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: slim("3.11", "a"), Force: true, IgnoreCache: true})
	if apart := builtID(t, events, err); apart == id || !(<-requests).GetNoCache() {
		t.Errorf("got %s twice", apart)
	}
	_, err = g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: slim("3.11", "a"), BuilderVersion: "1999.01"})
	wantCode(t, err, connect.CodeFailedPrecondition, "2026.11")
	odd := slim("3.11", strings.Repeat("x", 3))
	odd.Steps[0].SecretIds = []string{"nonsense"}
	_, err = g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: odd})
	wantCode(t, err, connect.CodeInvalidArgument, "recipe: step 1")
}
