package gatewaylink

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/internal/fault"
	buildv1 "github.com/skerry-dev/skerry/internal/gen/skerry/build/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/build/v1/buildv1connect"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/wire"
)

// Builder makes images. It is safe for concurrent use.
type Builder interface {
	// Build makes an image and stores it. Errors: *build.FailedError where a step failed; fault.Invalid for a recipe that makes no sense;
	// fault.Precondition for a Python series that can't be had.
	Build(ctx context.Context, r build.Request, events build.Events) (*build.Image, error)
	// Series are the Python series that can be had, and what an operator does for others.
	Series() (series []string, hint string)
}

type service struct {
	builder Builder
	log     *slog.Logger
}

var _ buildv1connect.BuilderServiceHandler = (*service)(nil)

// Build serves one build.
func (s *service) Build(
	ctx context.Context, req *connect.Request[buildv1.BuildRequest], out *connect.ServerStream[buildv1.BuildResponse],
) error {
	r, err := requestFromProto(req.Msg)
	if err != nil {
		return fault.ToConnect(err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	e := &events{out: out, cancel: cancel}
	img, err := s.builder.Build(ctx, r, e)
	if failure := new(build.FailedError); errors.As(err, &failure) {
		return e.send(&buildv1.BuildResponse{Event: &buildv1.BuildResponse_Failed{Failed: failureToProto(r.ImageID, failure)}})
	}
	if err != nil && ctx.Err() != nil {
		// The gateway has gone or wants it no more; or this builder stops, and another goes on.
		return connect.NewError(connect.CodeCanceled, err)
	}
	if err != nil {
		if fault.KindOf(err) == nil {
			s.log.Error("image build failed for a reason of ours", "image", r.ImageID, "err", err)
		}
		return fault.ToConnect(err)
	}
	return e.send(&buildv1.BuildResponse{Event: &buildv1.BuildResponse_Built{Built: &buildv1.Built{
		Erofs: wire.RefToProto(img.EROFS), Chunked: true, Env: img.Env, Workdir: img.Workdir, Entrypoint: img.Entrypoint, Cmd: img.Cmd,
		Shell: img.Shell, User: img.User,
	}}})
}

// ListPythonSeries serves the series.
func (s *service) ListPythonSeries(
	context.Context, *connect.Request[buildv1.ListPythonSeriesRequest],
) (*connect.Response[buildv1.ListPythonSeriesResponse], error) {
	series, hint := s.builder.Series()
	return connect.NewResponse(&buildv1.ListPythonSeriesResponse{Series: series, Hint: hint}), nil
}

// events sends what happens. A stream that breaks ends the build: the gateway is gone, and asks again when it is back.
type events struct {
	mu     sync.Mutex
	out    *connect.ServerStream[buildv1.BuildResponse]
	cancel context.CancelCauseFunc
}

var _ build.Events = (*events)(nil)

func (e *events) send(m *buildv1.BuildResponse) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.out.Send(m); err != nil {
		err = fault.New(fault.Unavailable, "image build: the gateway is gone: %w", err)
		e.cancel(err)
		return err
	}
	return nil
}

// Step sends a step's state. A failed send ends the build through its context.
func (e *events) Step(s build.Step) {
	_ = e.send(&buildv1.BuildResponse{Event: &buildv1.BuildResponse_Step{Step: &skerryv1.BuildStep{
		Number: uint32(s.Number), Total: uint32(s.Total), Name: s.Name, //nolint:gosec // at most a few thousand
		State: skerryv1.BuildStepState(s.State), ElapsedMs: uint64(s.Elapsed.Milliseconds()), //nolint:gosec // not negative
		RecipeStep: uint32(s.RecipeStep), //nolint:gosec // at most 200
	}}})
}

// Log sends output. A failed send ends the build through its context.
func (e *events) Log(l build.Log) {
	_ = e.send(&buildv1.BuildResponse{Event: &buildv1.BuildResponse_Log{Log: &skerryv1.BuildLog{
		Step: uint32(l.Step), Lines: l.Lines, //nolint:gosec // at most a few thousand
	}}})
}

func failureToProto(imageID string, f *build.FailedError) *skerryv1.BuildFailed {
	lines := make([]string, len(f.LastLines))
	for i, l := range f.LastLines {
		lines[i] = strings.ToValidUTF8(l, "\uFFFD")
	}
	return &skerryv1.BuildFailed{
		ImageId: imageID, Step: f.Step, Command: strings.ToValidUTF8(f.Command, "\uFFFD"),
		ExitCode: int32(f.ExitCode), LastLines: lines, //nolint:gosec // exit codes are small
		Message: strings.ToValidUTF8(f.Message, "\uFFFD"), RecipeStep: uint32(f.RecipeStep), //nolint:gosec // at most 200
	}
}
