package server_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"

	buildv1 "github.com/skerry-dev/skerry/internal/gen/skerry/build/v1"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/ident"
)

func logEvent(line string) *buildv1.BuildResponse {
	return &buildv1.BuildResponse{Event: &buildv1.BuildResponse_Log{Log: &skerryv1.BuildLog{Step: 1, Lines: []string{line}}}}
}

func TestTheSameImageIsBuiltOnce(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	var builds atomic.Int32
	begun, finish := make(chan struct{}), make(chan struct{})
	g.join(t, &fakeBuilder{build: func(_ context.Context, req *buildv1.BuildRequest, send func(*buildv1.BuildResponse)) error {
		if builds.Add(1) == 1 {
			send(logEvent("first line of " + req.GetImageId()))
			close(begun)
			<-finish
		}
		send(built())
		return nil
	}})
	req := &skerryv1.BuildImageRequest{Recipe: slim("3.11", "numpy")}
	results := make([][]*skerryv1.BuildImageResponse, 3)
	var clients sync.WaitGroup
	ask := func(i int, then func()) {
		clients.Go(func() {
			stream, err := g.image.BuildImage(t.Context(), connect.NewRequest(req))
			if err != nil {
				t.Error(err)
				return
			}
			for stream.Receive() {
				results[i] = append(results[i], stream.Msg())
				if len(results[i]) == 1 && then != nil {
					then()
				}
			}
			if err := stream.Err(); err != nil {
				t.Error(err)
			}
		})
	}
	ask(0, nil)
	<-begun
	// Two who come late see the log from its start; only then may the build end.
	var late sync.WaitGroup
	late.Add(2)
	ask(1, late.Done)
	ask(2, late.Done)
	late.Wait()
	close(finish)
	clients.Wait()
	for i, events := range results {
		if len(events) != 2 || !strings.HasPrefix(events[0].GetLog().GetLines()[0], "first line of im-") ||
			events[1].GetBuilt().GetErofsDigest() != ident.Digest(erofs) {
			t.Errorf("client %d saw %v", i, events)
		}
	}
	again, err := g.buildImage(t, req)
	if err != nil || len(again) != 1 || builds.Load() != 1 {
		t.Errorf("later: %v, %v, %d builds", again, err, builds.Load())
	}
	id := again[0].GetBuilt().GetImageId()
	if im := call(t, g.image.GetImage, &skerryv1.GetImageRequest{ImageId: id}); im.GetRecipe().GetSteps()[0].GetPipInstall().GetPackages()[0] != "numpy" {
		t.Errorf("GetImage = %v", im)
	}
	forced := slim("3.11", "numpy")
	forced.Steps[0].ForceBuild = true
	anew, err := g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: forced})
	if err != nil || builds.Load() != 2 || anew[len(anew)-1].GetBuilt().GetImageId() != id {
		t.Errorf("forced: %v, %v, %d builds", anew, err, builds.Load())
	}
}

func TestABuildEndsWithItsLastListener(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	begun, ended := make(chan struct{}), make(chan error, 1)
	g.join(t, &fakeBuilder{build: func(ctx context.Context, _ *buildv1.BuildRequest, send func(*buildv1.BuildResponse)) error {
		send(logEvent("on it"))
		close(begun)
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}})
	ctx, leave := context.WithCancel(t.Context())
	stream, err := g.image.BuildImage(ctx, connect.NewRequest(&skerryv1.BuildImageRequest{Recipe: slim("3.13")}))
	if err != nil {
		t.Fatal(err)
	}
	if !stream.Receive() {
		t.Fatal(stream.Err())
	}
	<-begun
	leave()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the build ended with %v", err)
	}
}

func TestAFailedBuildIsTriedAgain(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	var builds atomic.Int32
	g.join(t, &fakeBuilder{build: func(_ context.Context, _ *buildv1.BuildRequest, send func(*buildv1.BuildResponse)) error {
		switch builds.Add(1) {
		case 1:
			send(&buildv1.BuildResponse{Event: &buildv1.BuildResponse_Failed{Failed: &skerryv1.BuildFailed{
				Step: "pip install nonsense", Command: "pip install nonsense", ExitCode: 1, LastLines: []string{"no such package"}, Message: "step failed",
			}}})
			return nil
		case 2:
			return connect.NewError(connect.CodeInternal, fmt.Errorf("disk full"))
		default:
			send(built())
			return nil
		}
	}})
	req := &skerryv1.BuildImageRequest{Recipe: slim("3.11", "nonsense")}
	events, err := g.buildImage(t, req)
	if err != nil || len(events) != 1 {
		t.Fatalf("%v, %v", events, err)
	}
	if f := events[0].GetFailed(); f.GetExitCode() != 1 || f.GetLastLines()[0] != "no such package" || ident.Check(ident.Image, f.GetImageId()) != nil {
		t.Errorf("failure = %v", f)
	}
	_, err = g.buildImage(t, req)
	wantCode(t, err, connect.CodeInternal, "")
	if events, err := g.buildImage(t, req); err != nil || events[0].GetBuilt() == nil {
		t.Errorf("third: %v, %v", events, err)
	}
}

func TestRefusedRecipes(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	_, err := g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: slim("3.11")})
	wantCode(t, err, connect.CodeUnavailable, "no image builder is connected")
	g.join(t, g.instantly(t))
	_, err = g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: slim("3.12")})
	wantCode(t, err, connect.CodeFailedPrecondition, `python "3.12": no base image has it; there is 3.11, 3.13. Run skerryd base prepare.`)
	_, err = g.buildImage(t, &skerryv1.BuildImageRequest{})
	wantCode(t, err, connect.CodeInvalidArgument, "debian_slim")
	local := slim("3.11")
	local.Steps = []*skerryv1.Step{{Kind: &skerryv1.Step_AddLocal{AddLocal: &skerryv1.AddLocal{
		TreeDigest: "sha256:" + strings.Repeat("1", 64), RemotePath: "/data",
	}}}}
	_, err = g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: local})
	wantCode(t, err, connect.CodeNotFound, "tree")
	wantCode(t, fails(t, g.image.GetImage, &skerryv1.GetImageRequest{ImageId: ident.New(ident.Image)}), connect.CodeNotFound, "image")
}
