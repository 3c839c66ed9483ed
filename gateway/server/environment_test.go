package server_test

import (
	"testing"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/server"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
)

func (g *gateway) environments() skerryv1connect.EnvironmentServiceClient {
	return skerryv1connect.NewEnvironmentServiceClient(g.http, g.URL())
}

// TestEnvironmentsAreNamespaces: the same names mean other things in each, a rename carries all along, and a deletion takes all away.
func TestEnvironmentsAreNamespaces(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	env := g.environments()
	call(t, env.CreateEnvironment, &skerryv1.CreateEnvironmentRequest{Name: "dev"})
	image := g.mustImage(t)
	deploy := func(environment string) string {
		t.Helper()
		return call(t, g.app.PublishApp, &skerryv1.PublishAppRequest{
			Name: "shop", Environment: environment, Functions: []*skerryv1.FunctionDefinition{function("f", image)},
		}).GetAppId()
	}
	inMain, inDev := deploy(""), deploy("dev")
	if inMain == inDev {
		t.Fatal("two environments have the same app")
	}
	call(t, g.image.PublishImage, &skerryv1.PublishImageRequest{ImageId: image, Name: "base", Environment: "dev"})
	err := fails(t, g.image.GetImageByName, &skerryv1.GetImageByNameRequest{Name: "base"})
	wantCode(t, err, connect.CodeNotFound, "base")
	call(t, g.token.CreateToken, &skerryv1.CreateTokenRequest{Name: "ci", Environments: []string{"dev"}})
	if info := call(t, env.UpdateEnvironment, &skerryv1.UpdateEnvironmentRequest{Name: "dev", NewName: "staging"}); info.GetEnvironment().GetName() != "staging" {
		t.Errorf("renamed: %v", info)
	}
	if id := call(t, g.app.LookupApp, &skerryv1.LookupAppRequest{Name: "shop", Environment: "staging"}).GetAppId(); id != inDev {
		t.Errorf("the app is %q after the rename, was %q", id, inDev)
	}
	if id := call(t, g.image.GetImageByName, &skerryv1.GetImageByNameRequest{Name: "base", Environment: "staging"}).GetImageId(); id != image {
		t.Errorf("the image is %q after the rename", id)
	}
	wantCode(t, fails(t, g.app.ListApps, &skerryv1.ListAppsRequest{Environment: "dev"}), connect.CodeNotFound, "skerry environment create dev")
	err = fails(t, g.app.PublishApp, &skerryv1.PublishAppRequest{AppId: inDev, Functions: []*skerryv1.FunctionDefinition{function("f", image)}})
	wantCode(t, err, connect.CodeNotFound, "another environment")

	call(t, env.DeleteEnvironment, &skerryv1.DeleteEnvironmentRequest{Name: "staging"})
	for id, want := range map[string]skerryv1.AppState{
		inDev: skerryv1.AppState_APP_STATE_STOPPED, inMain: skerryv1.AppState_APP_STATE_DEPLOYED,
	} {
		if a := call(t, g.app.GetApp, &skerryv1.GetAppRequest{App: id}).GetApp(); a.GetState() != want {
			t.Errorf("app %s is %v, want %v", id, a.GetState(), want)
		}
	}
	call(t, env.CreateEnvironment, &skerryv1.CreateEnvironmentRequest{Name: "staging"})
	if apps := call(t, g.app.ListApps, &skerryv1.ListAppsRequest{Environment: "staging"}).GetApps(); len(apps) != 0 {
		t.Errorf("a new environment of an old name has %v", apps)
	}
	err = fails(t, g.image.GetImageByName, &skerryv1.GetImageByNameRequest{Name: "base", Environment: "staging"})
	wantCode(t, err, connect.CodeNotFound, "base")
	wantCode(t, fails(t, env.DeleteEnvironment, &skerryv1.DeleteEnvironmentRequest{}), connect.CodeInvalidArgument, "name")
	wantCode(t, fails(t, env.DeleteEnvironment, &skerryv1.DeleteEnvironmentRequest{Name: "main"}), connect.CodeFailedPrecondition, "main")
}

// TestTokensOfAnEnvironment see it as if it were all there is.
func TestTokensOfAnEnvironment(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for _, name := range []string{"one", "two"} {
		call(t, g.environments().CreateEnvironment, &skerryv1.CreateEnvironmentRequest{Name: name})
	}
	image := g.mustImage(t)
	deploy := func(environment string) *skerryv1.PublishAppResponse {
		t.Helper()
		return call(t, g.app.PublishApp, &skerryv1.PublishAppRequest{
			Name: "shop", Environment: environment, Functions: []*skerryv1.FunctionDefinition{function("f", image)},
		})
	}
	one, two := deploy("one"), deploy("two")
	call(t, g.image.PublishImage, &skerryv1.PublishImageRequest{ImageId: image, Name: "open", Environment: "two", IsPublic: true})
	call(t, g.image.PublishImage, &skerryv1.PublishImageRequest{ImageId: image, Name: "shut", Environment: "two"})
	token, err := server.CreateToken(t.Context(), server.Database(g.dir, ""), server.NewToken{Name: "ci", Role: identity.Admin, Environments: []string{"one"}})
	if err != nil {
		t.Fatal(err)
	}
	g.connect(t, token.Encode())
	if id := call(t, g.app.LookupApp, &skerryv1.LookupAppRequest{Name: "shop"}).GetAppId(); id != one.GetAppId() {
		t.Errorf("its shop is %q", id)
	}
	if list := call(t, g.environments().ListEnvironments, &skerryv1.ListEnvironmentsRequest{}).GetEnvironments(); len(list) != 1 || list[0].GetName() != "one" {
		t.Errorf("it sees %v", list)
	}
	if info := call(t, g.token.GetTokenInfo, &skerryv1.GetTokenInfoRequest{}); len(info.GetEnvironments()) != 1 || info.GetEnvironments()[0] != "one" {
		t.Errorf("it is %v", info)
	}
	call(t, g.fn.GetFunctionStats, &skerryv1.GetFunctionStatsRequest{FunctionId: one.GetFunctionIds()["f"]})
	err = fails(t, g.fn.GetFunctionStats, &skerryv1.GetFunctionStatsRequest{FunctionId: two.GetFunctionIds()["f"]})
	wantCode(t, err, connect.CodeNotFound, "none")
	wantCode(t, fails(t, g.app.GetApp, &skerryv1.GetAppRequest{App: two.GetAppId()}), connect.CodeNotFound, "none")
	wantCode(t, fails(t, g.app.StopApp, &skerryv1.StopAppRequest{App: two.GetAppId()}), connect.CodeNotFound, "none")
	wantCode(t, fails(t, g.app.ListApps, &skerryv1.ListAppsRequest{Environment: "two"}), connect.CodePermissionDenied, `opens one only`)
	wantCode(t, fails(t, g.app.ListApps, &skerryv1.ListAppsRequest{Environment: "three"}), connect.CodePermissionDenied, `opens one only`)
	wantCode(t, fails(t, g.environments().CreateEnvironment, &skerryv1.CreateEnvironmentRequest{Name: "three"}), connect.CodePermissionDenied, "all environments")
	// A public name of an image is for all.
	if id := call(t, g.image.GetImageByName, &skerryv1.GetImageByNameRequest{Name: "open", Environment: "two"}).GetImageId(); id != image {
		t.Errorf("public image: %q", id)
	}
	err = fails(t, g.image.GetImageByName, &skerryv1.GetImageByNameRequest{Name: "shut", Environment: "two"})
	wantCode(t, err, connect.CodePermissionDenied, "opens one only")
}
