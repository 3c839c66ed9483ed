package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/internal/cas"
	buildv1 "github.com/skerry-dev/skerry/internal/gen/skerry/build/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/build/v1/buildv1connect"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/ident"
)

// TestABuilderThatStopsIsReplaced has one of two builders stop in good order, which ends its builds before its link.
func TestABuilderThatStopsIsReplaced(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	var builds atomic.Int32
	for range 2 {
		g.join(t, &fakeBuilder{build: func(_ context.Context, _ *buildv1.BuildRequest, send func(*buildv1.BuildResponse)) error {
			if builds.Add(1) == 1 {
				return connect.NewError(connect.CodeCanceled, errors.New("the builder stops"))
			}
			send(built())
			return nil
		}})
	}
	events, err := g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: slim("3.11")})
	if err != nil || len(events) != 1 || builds.Load() != 2 {
		t.Errorf("%v, %v, %d builds", events, err, builds.Load())
	}
}

// TestBuildersOfDifferentHosts have different interpreters: a build ends up where there is the one it takes.
func TestBuildersOfDifferentHosts(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for _, has := range []string{"3.12", "3.14"} {
		g.join(t, &fakeBuilder{python: []string{has}, build: func(_ context.Context, req *buildv1.BuildRequest, send func(*buildv1.BuildResponse)) error {
			if want := req.GetRecipe().GetBase().GetDebianSlim().GetPythonVersion(); want != has {
				return connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("no python %s here", want))
			}
			send(built())
			return nil
		}})
	}
	for _, python := range []string{"3.12", "3.14"} {
		if events, err := g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: slim(python)}); err != nil || len(events) != 1 {
			t.Errorf("%s: %v, %v", python, events, err)
		}
	}
	_, err := g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: slim("3.13")})
	wantCode(t, err, connect.CodeFailedPrecondition, "there is 3.1")
}

// TestAnImageThatIsNotStoredIsNone has a builder say that it has built what it did not store.
func TestAnImageThatIsNotStoredIsNone(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	b := g.instantly(t)
	b.empty = true
	g.join(t, b)
	req := &skerryv1.BuildImageRequest{Recipe: slim("3.11")}
	_, err := g.buildImage(t, req)
	wantCode(t, err, connect.CodeUnavailable, "has not stored all of it")
	g.store(t)
	if events, err := g.buildImage(t, req); err != nil || len(events) != 1 {
		t.Errorf("again: %v, %v", events, err)
	}
}

// TestAnImageThatWasMadeMeanwhileIsNotMadeAgain holds up one of two clients between its look for the image and its build.
func TestAnImageThatWasMadeMeanwhileIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	var asked, builds atomic.Int32
	held, release := make(chan struct{}), make(chan struct{})
	b := &fakeBuilder{build: func(_ context.Context, _ *buildv1.BuildRequest, send func(*buildv1.BuildResponse)) error {
		builds.Add(1)
		send(built())
		return nil
	}, asked: func() {
		if asked.Add(1) == 1 {
			close(held)
			<-release
		}
	}}
	g.join(t, b)
	req := &skerryv1.BuildImageRequest{Recipe: slim("3.11")}
	var first sync.WaitGroup
	first.Go(func() {
		if events, err := g.buildImage(t, req); err != nil || len(events) != 1 {
			t.Errorf("held up: %v, %v", events, err)
		}
	})
	<-held
	if events, err := g.buildImage(t, req); err != nil || len(events) != 1 {
		t.Errorf("%v, %v", events, err)
	}
	close(release)
	first.Wait()
	if builds.Load() != 1 {
		t.Errorf("%d builds", builds.Load())
	}
}

// TestBuildersShareWhatTheyWereGiven has builders of other hosts store results, and a gateway's own builder alone share none.
func TestBuildersShareWhatTheyWereGiven(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	requests := make(chan *buildv1.BuildRequest, 1)
	build := func(_ context.Context, req *buildv1.BuildRequest, send func(*buildv1.BuildResponse)) error {
		requests <- req
		send(built())
		return nil
	}
	ask := func(packages ...string) *buildv1.SharedLayers {
		t.Helper()
		if _, err := g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: slim("3.11", packages...)}); err != nil {
			t.Fatal(err)
		}
		return (<-requests).GetShared()
	}
	own := &fakeBuilder{build: build}
	g.join(t, own)
	if s := ask(); s != nil {
		t.Errorf("a builder alone is to share: %v", s)
	}
	tokens := []identity.Credential{own.token}
	for _, name := range []string{"one", "two"} {
		token, err := g.Tokens().Create(t.Context(), name, identity.Builder)
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token)
		g.join(t, &fakeBuilder{build: build, token: token})
	}
	bundle := g.bundle(t, "results")
	store := func(c *http.Client, grant string) error {
		_, err := buildv1connect.NewLayerServiceClient(c, g.URL()).StoreLayers(t.Context(), connect.NewRequest(&buildv1.StoreLayersRequest{
			Grant: grant, BundleDigest: bundle,
		}))
		return err
	}
	shared := ask("numpy")
	if shared.GetGrant() == "" || len(shared.GetBundleDigests()) != 0 {
		t.Fatalf("shared %v", shared)
	}
	wantCode(t, store(g.client(t, g.admin.Encode()), shared.GetGrant()), connect.CodePermissionDenied, "")
	wantCode(t, store(g.client(t, g.Tokens().Ephemeral("another", identity.Builder).Encode()), shared.GetGrant()), connect.CodeNotFound, "grant")
	stored := 0
	for _, token := range tokens {
		if store(g.client(t, token.Encode()), shared.GetGrant()) == nil {
			stored++
		}
	}
	if stored != 1 {
		t.Errorf("%d builders could store the results, want the one that was asked", stored)
	}
	if s := ask("six"); s.GetKnown() || len(s.GetBundleDigests()) != 1 || s.GetBundleDigests()[0] != bundle {
		t.Errorf("for a recipe on the same base: %v", s)
	}
}

// bundle stores a content and returns the digest of its bundle.
func (g *gateway) bundle(t *testing.T, content string) string {
	t.Helper()
	s := cas.NewStream(t.Context(), g.blobs)
	if _, err := bytes.NewBufferString(content).WriteTo(s); err != nil {
		t.Fatal(err)
	}
	manifest, err := s.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	digest := ident.Digest([]byte(content))
	data, err := (&cas.Bundle{Root: digest, Files: []cas.File{{Content: digest, Size: uint64(len(content)), Manifest: manifest}}}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	ref, _, err := g.blobs.Add(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	return ref.Digest
}
