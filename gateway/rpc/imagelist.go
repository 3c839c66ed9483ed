package rpc

import (
	"context"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/image"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
)

func (s *imageService) ListImages(ctx context.Context, req *connect.Request[skerryv1.ListImagesRequest]) (*connect.Response[skerryv1.ListImagesResponse], error) {
	images, err := s.d.Images.List(ctx, int(req.Msg.GetLimit()))
	if err != nil {
		return nil, err
	}
	res := &skerryv1.ListImagesResponse{}
	for _, im := range images {
		info := &skerryv1.ImageInfo{ImageId: im.ID, Size: im.EROFS.Size, CreatedAt: timestamppb.New(im.CreatedAt)}
		for _, n := range im.Names {
			info.Names = append(info.Names, n.String())
		}
		res.Images = append(res.Images, info)
	}
	return connect.NewResponse(res), nil
}

func (s *imageService) DeleteImage(ctx context.Context, req *connect.Request[skerryv1.DeleteImageRequest]) (*connect.Response[skerryv1.DeleteImageResponse], error) {
	if err := s.d.Images.Delete(ctx, req.Msg.GetImageId()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.DeleteImageResponse{}), nil
}

func (s *imageService) GetImageLog(ctx context.Context, req *connect.Request[skerryv1.GetImageLogRequest]) (*connect.Response[skerryv1.GetImageLogResponse], error) {
	log, err := s.d.Images.Log(ctx, req.Msg.GetImageId())
	if err != nil {
		return nil, err
	}
	res := &skerryv1.GetImageLogResponse{}
	for _, step := range log {
		m := &skerryv1.ImageLogStep{Step: stepToProto(step.Step)}
		for _, l := range step.Lines {
			m.Lines = append(m.Lines, &skerryv1.ImageLogLine{Time: timestamppb.New(l.At), Text: l.Text})
		}
		res.Steps = append(res.Steps, m)
	}
	return connect.NewResponse(res), nil
}

func (s *imageService) PublishImage(ctx context.Context, req *connect.Request[skerryv1.PublishImageRequest]) (*connect.Response[skerryv1.PublishImageResponse], error) {
	env, err := identity.Environment(ctx, req.Msg.GetEnvironment())
	if err != nil {
		return nil, err
	}
	n := image.Name{Environment: env, Name: req.Msg.GetName(), Tag: req.Msg.GetTag()}
	if err := s.d.Images.Publish(ctx, n, req.Msg.GetImageId(), req.Msg.GetIsPublic()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.PublishImageResponse{}), nil
}

func (s *imageService) GetImageByName(ctx context.Context, req *connect.Request[skerryv1.GetImageByNameRequest]) (*connect.Response[skerryv1.GetImageByNameResponse], error) {
	// Public names are for the code and the tokens of other environments as well.
	env, refused := identity.Environment(ctx, req.Msg.GetEnvironment())
	if refused != nil {
		var err error
		if env, err = identity.Elsewhere(ctx, req.Msg.GetEnvironment()); err != nil {
			return nil, refused
		}
	}
	named, err := s.d.Images.ByName(ctx, image.Name{Environment: env, Name: req.Msg.GetName(), Tag: req.Msg.GetTag()})
	if refused != nil && (err != nil || !named.Public) {
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.GetImageByNameResponse{ImageId: named.ImageID}), nil
}

func (s *imageService) ListImageNames(ctx context.Context, req *connect.Request[skerryv1.ListImageNamesRequest]) (*connect.Response[skerryv1.ListImageNamesResponse], error) {
	env, err := identity.Environment(ctx, req.Msg.GetEnvironment())
	if err != nil {
		return nil, err
	}
	var names []image.Named
	if of := req.Msg.GetHistoryOf(); of != "" {
		name, tag, _ := strings.Cut(of, ":")
		names, err = s.d.Images.NameHistory(ctx, image.Name{Environment: env, Name: name, Tag: tag})
	} else {
		names, err = s.d.Images.ListNames(ctx, env, req.Msg.GetPrefix())
	}
	if err != nil {
		return nil, err
	}
	res := &skerryv1.ListImageNamesResponse{}
	for _, n := range names {
		res.Names = append(res.Names, &skerryv1.ImageName{Name: n.String(), ImageId: n.ImageID, UpdatedAt: timestamppb.New(n.UpdatedAt)})
	}
	return connect.NewResponse(res), nil
}
