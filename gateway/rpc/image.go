package rpc

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/image"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
)

type imageService struct{ d Deps }

func (s *imageService) BuildImage(ctx context.Context, req *connect.Request[skerryv1.BuildImageRequest], stream *connect.ServerStream[skerryv1.BuildImageResponse]) error {
	m := req.Msg
	if m.GetBuilderVersion() != "" && m.GetBuilderVersion() != image.BuilderVersion {
		return fault.New(fault.Precondition, "image builder version %.40q: this gateway builds by %q", m.GetBuilderVersion(), image.BuilderVersion)
	}
	appID := m.GetAppId()
	if scope, inside := identity.ScopeOf(ctx); inside && appID == "" {
		appID = scope.AppID
	}
	if err := identity.CheckApp(ctx, appID); err != nil {
		return err // the secrets of another app are not for it
	}
	r, err := recipeFromProto(m.GetRecipe())
	if err != nil {
		return err
	}
	request := image.Request{Recipe: r, AppID: appID, Force: m.GetForce(), Apart: m.GetIgnoreCache()}
	return s.d.Images.Build(ctx, request, func(e image.Event) error { return stream.Send(eventToProto(e)) })
}

func (s *imageService) GetImage(ctx context.Context, req *connect.Request[skerryv1.GetImageRequest]) (*connect.Response[skerryv1.GetImageResponse], error) {
	im, err := s.d.Images.Image(ctx, req.Msg.GetImageId())
	if err != nil {
		return nil, err
	}
	res := &skerryv1.GetImageResponse{Image: builtToProto(im), Recipe: &skerryv1.Recipe{}}
	if err := proto.Unmarshal(im.Recipe, res.GetRecipe()); err != nil {
		return nil, fault.New(fault.DataLoss, "image %q: stored recipe is malformed", im.ID)
	}
	return connect.NewResponse(res), nil
}

func builtToProto(im *image.Image) *skerryv1.ImageBuilt {
	return &skerryv1.ImageBuilt{ImageId: im.ID, ErofsDigest: im.EROFS.Digest, Size: im.EROFS.Size}
}

func eventToProto(e image.Event) *skerryv1.BuildImageResponse {
	switch {
	case e.Step != nil:
		return &skerryv1.BuildImageResponse{Event: &skerryv1.BuildImageResponse_Step{Step: stepToProto(*e.Step)}}
	case e.Log != nil:
		return &skerryv1.BuildImageResponse{Event: &skerryv1.BuildImageResponse_Log{Log: &skerryv1.BuildLog{Step: e.Log.Step, Lines: e.Log.Lines}}}
	case e.Built != nil:
		return &skerryv1.BuildImageResponse{Event: &skerryv1.BuildImageResponse_Built{Built: builtToProto(e.Built)}}
	default:
		f := e.Failed
		return &skerryv1.BuildImageResponse{Event: &skerryv1.BuildImageResponse_Failed{Failed: &skerryv1.BuildFailed{
			ImageId: f.ImageID, Step: f.Step, Command: f.Command, ExitCode: f.ExitCode, LastLines: f.LastLines, Message: f.Message,
			RecipeStep: f.RecipeStep,
		}}}
	}
}

func stepToProto(s image.Step) *skerryv1.BuildStep {
	return &skerryv1.BuildStep{
		Number: s.Number, Total: s.Total, Name: s.Name, State: skerryv1.BuildStepState(s.State),
		ElapsedMs: uint64(s.Elapsed.Milliseconds()), RecipeStep: s.RecipeStep,
	}
}
