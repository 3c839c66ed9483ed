package gatewaylink_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/gatewaylink"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/internal/fault"
	buildv1 "github.com/skerry-dev/skerry/internal/gen/skerry/build/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/build/v1/buildv1connect"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/link"
	"github.com/skerry-dev/skerry/internal/payload"
)

// builder is a Builder whose builds a test plays.
type builder struct {
	play func(ctx context.Context, r build.Request, e build.Events) (*build.Image, error)
}

func (b builder) Build(ctx context.Context, r build.Request, e build.Events) (*build.Image, error) {
	return b.play(ctx, r, e)
}

func (builder) Series() ([]string, string) { return []string{"3.11"}, "hint" }

// gateway accepts links of one builder and gives its clients.
func gateway(t *testing.T, b builder) <-chan *link.Client {
	t.Helper()
	clients := make(chan *link.Client)
	ctx, cancel := context.WithCancel(context.Background())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/skerry.build.v1/link" || r.Header.Get("Authorization") != "Bearer secret" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		conn, err := link.Upgrade(w, r)
		if err != nil {
			t.Error(err)
			return
		}
		c, err := link.NewClient(conn)
		if err != nil {
			t.Error(err)
			return
		}
		select {
		case clients <- c:
		case <-ctx.Done():
			_ = c.Close()
		}
	}))
	l, err := gatewaylink.New(gatewaylink.Config{URL: s.URL, Token: "secret"}, b,
		slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.Close()
	})
	return clients
}

func client(c *link.Client) buildv1connect.BuilderServiceClient {
	return buildv1connect.NewBuilderServiceClient(c.HTTPClient(), link.BaseURL)
}

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func request() *buildv1.BuildRequest {
	return &buildv1.BuildRequest{
		ImageId: "im-1",
		Recipe: &skerryv1.Recipe{
			Base: &skerryv1.Base{Kind: &skerryv1.Base_DebianSlim{DebianSlim: &skerryv1.DebianSlim{PythonVersion: "3.11"}}},
			Steps: []*skerryv1.Step{{
				Kind: &skerryv1.Step_PipInstall{PipInstall: &skerryv1.PipInstall{
					Packages: []string{"six"}, Options: &skerryv1.IndexOptions{Pre: true, IndexUrl: "https://i"},
				}},
				BuildEnv: map[string]string{"A": "1"}, ForceBuild: true,
			}},
		},
		Trees: []*buildv1.Tree{{TreeDigest: digest, Files: []*buildv1.TreeFile{
			{Path: "a/b", Blob: &skerryv1.BlobRef{Digest: digest, Size: 3}, Mode: 0o644},
		}}},
		Secrets: []*buildv1.StepSecrets{{Step: 1, Variables: map[string]string{"KEY": "value"}}},
	}
}

func TestBuildOverALink(t *testing.T) {
	clients := gateway(t, builder{func(_ context.Context, r build.Request, e build.Events) (*build.Image, error) {
		want := build.Request{
			ImageID: "im-1",
			Recipe: recipe.Recipe{Base: recipe.Base{From: &recipe.DebianSlim{Python: "3.11"}}, Steps: []recipe.Step{{
				Action:   &recipe.PipInstall{Packages: []string{"six"}, Index: recipe.Index{Pre: true, IndexURL: "https://i"}},
				BuildEnv: map[string]string{"A": "1"}, Number: 1, Secrets: []string{"KEY"}, Force: true,
			}}},
			Secrets: map[int]map[string]string{1: {"KEY": "value"}},
			Trees:   map[string][]build.File{digest: {{Path: "a/b", Blob: payload.Ref{Digest: digest, Size: 3}, Mode: 0o644}}},
		}
		if diff := cmp.Diff(want, r); diff != "" {
			t.Error(diff)
		}
		e.Step(build.Step{Number: 1, Total: 2, Name: "n", State: build.Cached, Elapsed: 2 * time.Second})
		e.Log(build.Log{Step: 1, Lines: []string{"l"}})
		return &build.Image{EROFS: payload.Ref{Digest: digest, Size: 9}, Env: map[string]string{"K": "v"}, Workdir: "/w"}, nil
	}})
	s, err := client(<-clients).Build(t.Context(), connect.NewRequest(request()))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for s.Receive() {
		got = append(got, strings.Join(strings.Fields(s.Msg().String()), " "))
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`step:{number:1 total:2 name:"n" state:BUILD_STEP_STATE_CACHED elapsed_ms:2000}`, `log:{step:1 lines:"l"}`,
		`built:{erofs:{digest:"` + digest + `" size:9} env:{key:"K" value:"v"} workdir:"/w" chunked:true}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestHowBuildsFail(t *testing.T) {
	answers := make(chan error, 1)
	clients := gateway(t, builder{func(context.Context, build.Request, build.Events) (*build.Image, error) { return nil, <-answers }})
	c := client(<-clients)
	build1 := func(m *buildv1.BuildRequest, answer error) (*skerryv1.BuildFailed, error) {
		answers <- answer
		s, err := c.Build(t.Context(), connect.NewRequest(m))
		if err != nil {
			t.Fatal(err)
		}
		s.Receive()
		return s.Msg().GetFailed(), s.Err()
	}
	f, err := build1(request(), &build.FailedError{Step: "s", Command: "c", ExitCode: 7, LastLines: []string{"\xff"}, Message: "m"})
	if err != nil || f.GetImageId() != "im-1" || f.GetExitCode() != 7 || f.GetStep() != "s" || f.GetLastLines()[0] != "\uFFFD" {
		t.Errorf("got %v, %v", f, err)
	}
	if _, err = build1(request(), fault.New(fault.Precondition, "no such python")); connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("got %v", err)
	}
	if _, err = build1(request(), errors.New("inside")); connect.CodeOf(err) != connect.CodeInternal || strings.Contains(err.Error(), "inside") {
		t.Errorf("got %v", err)
	}
	for name, bad := range map[string]struct {
		spoil func(*buildv1.BuildRequest)
		code  connect.Code
	}{
		"no base": {func(m *buildv1.BuildRequest) { m.Recipe.Base = nil }, connect.CodeUnimplemented},
		"no step": {func(m *buildv1.BuildRequest) { m.Recipe.Steps[0].Kind = nil }, connect.CodeUnimplemented},
		"path":    {func(m *buildv1.BuildRequest) { m.Trees[0].Files[0].Path = "../x" }, connect.CodeInvalidArgument},
		"blob":    {func(m *buildv1.BuildRequest) { m.Trees[0].Files[0].Blob = nil }, connect.CodeInvalidArgument},
	} {
		m := request()
		bad.spoil(m)
		s, err := c.Build(t.Context(), connect.NewRequest(m))
		if err != nil {
			t.Fatal(err)
		}
		if s.Receive() || connect.CodeOf(s.Err()) != bad.code {
			t.Errorf("%s: got %v", name, s.Err())
		}
	}
}

// TestLinkComesBack breaks a link under a build: the build ends, and there is a new link.
func TestLinkComesBack(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	clients := gateway(t, builder{func(ctx context.Context, _ build.Request, e build.Events) (*build.Image, error) {
		e.Log(build.Log{Step: 1, Lines: []string{"began"}})
		close(began)
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}})
	first := <-clients
	if _, err := client(first).Build(t.Context(), connect.NewRequest(request())); err != nil {
		t.Fatal(err)
	}
	<-began
	if err := first.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	<-ended
	second := <-clients
	res, err := client(second).ListPythonSeries(t.Context(), connect.NewRequest(&buildv1.ListPythonSeriesRequest{}))
	if err != nil || res.Msg.GetSeries()[0] != "3.11" || res.Msg.GetHint() != "hint" {
		t.Errorf("got %v, %v", res, err)
	}
}
