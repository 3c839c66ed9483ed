package rpc

import (
	"context"
	"fmt"
	"slices"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/gateway/image"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/ident"
)

// maxSteps bounds a recipe.
const maxSteps = 200

type imageService struct{ d Deps }

func (s *imageService) BuildImage(ctx context.Context, req *connect.Request[skerryv1.BuildImageRequest], stream *connect.ServerStream[skerryv1.BuildImageResponse]) error {
	r, err := recipeFromProto(req.Msg.GetRecipe())
	if err != nil {
		return err
	}
	return s.d.Images.Build(ctx, r, req.Msg.GetForce(), func(e image.Event) error { return stream.Send(eventToProto(e)) })
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

// recipeFromProto checks the form of a recipe; what its steps mean is the builder's to check.
func recipeFromProto(m *skerryv1.Recipe) (image.Recipe, error) {
	var r image.Recipe
	slim := m.GetBase().GetDebianSlim()
	if slim == nil {
		return r, fault.New(fault.Invalid, "recipe: no base; begin with debian_slim")
	}
	if n := len(m.GetSteps()); n > maxSteps {
		return r, fault.New(fault.Invalid, "recipe: %d steps, at most %d", n, maxSteps)
	}
	canonical, ok := proto.Clone(m).(*skerryv1.Recipe)
	if !ok {
		return r, fmt.Errorf("recipe: clone is a %T", canonical)
	}
	for i, step := range canonical.GetSteps() {
		if step.GetKind() == nil {
			return r, fault.New(fault.Invalid, "recipe: step %d does nothing that this gateway knows; is the client newer?", i+1)
		}
		r.Force = r.Force || step.GetForceBuild()
		// Forcing a build makes the same image anew, not another image.
		step.ForceBuild = false
		if add := step.GetAddLocal(); add != nil && !slices.Contains(r.TreeDigests, add.GetTreeDigest()) {
			if err := ident.CheckDigest(add.GetTreeDigest()); err != nil {
				return r, fault.New(fault.Invalid, "recipe: step %d: %w", i+1, err)
			}
			r.TreeDigests = append(r.TreeDigests, add.GetTreeDigest())
		}
	}
	r.PythonSeries = slim.GetPythonVersion()
	var err error
	stable := proto.MarshalOptions{Deterministic: true}
	if r.Canonical, err = stable.Marshal(canonical); err != nil {
		return r, fault.New(fault.Invalid, "recipe: %w", err)
	}
	if r.Encoded, err = stable.Marshal(m); err != nil {
		return r, fault.New(fault.Invalid, "recipe: %w", err)
	}
	return r, nil
}

func builtToProto(im *image.Image) *skerryv1.ImageBuilt {
	return &skerryv1.ImageBuilt{ImageId: im.ID, ErofsDigest: im.EROFS.Digest, Size: im.EROFS.Size}
}

func eventToProto(e image.Event) *skerryv1.BuildImageResponse {
	switch {
	case e.Step != nil:
		return &skerryv1.BuildImageResponse{Event: &skerryv1.BuildImageResponse_Step{Step: &skerryv1.BuildStep{
			Number: e.Step.Number, Total: e.Step.Total, Name: e.Step.Name, State: skerryv1.BuildStepState(e.Step.State),
			ElapsedMs: uint64(e.Step.Elapsed.Milliseconds()),
		}}}
	case e.Log != nil:
		return &skerryv1.BuildImageResponse{Event: &skerryv1.BuildImageResponse_Log{Log: &skerryv1.BuildLog{Step: e.Log.Step, Lines: e.Log.Lines}}}
	case e.Built != nil:
		return &skerryv1.BuildImageResponse{Event: &skerryv1.BuildImageResponse_Built{Built: builtToProto(e.Built)}}
	default:
		f := e.Failed
		return &skerryv1.BuildImageResponse{Event: &skerryv1.BuildImageResponse_Failed{Failed: &skerryv1.BuildFailed{
			ImageId: f.ImageID, Step: f.Step, Command: f.Command, ExitCode: f.ExitCode, LastLines: f.LastLines, Message: f.Message,
		}}}
	}
}
