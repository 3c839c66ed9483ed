package buildlink

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/layer"
	buildv1 "github.com/skerry-dev/skerry/internal/gen/skerry/build/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/build/v1/buildv1connect"
)

// maxLayersMessage bounds one message to LayerService in bytes.
const maxLayersMessage = 64 << 10

// layerService takes the results of build steps that builders share.
type layerService struct{ layers *layer.Service }

// NewLayersHandler returns the path and handler of LayerService, which goes behind the authentication of builders.
func NewLayersHandler(layers *layer.Service, opts []connect.HandlerOption) (string, http.Handler) {
	own := []connect.HandlerOption{connect.WithReadMaxBytes(maxLayersMessage)}
	return buildv1connect.NewLayerServiceHandler(&layerService{layers}, append(own, opts...)...)
}

// StoreLayers serves the results of a build.
func (s *layerService) StoreLayers(
	ctx context.Context, req *connect.Request[buildv1.StoreLayersRequest],
) (*connect.Response[buildv1.StoreLayersResponse], error) {
	put := s.layers.Put
	if req.Msg.GetBase() {
		put = s.layers.PutBase
	}
	if err := put(ctx, caller(ctx), req.Msg.GetGrant(), req.Msg.GetBundleDigest()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&buildv1.StoreLayersResponse{}), nil
}

// ReportLayers serves news of results that can't be read.
func (s *layerService) ReportLayers(
	ctx context.Context, req *connect.Request[buildv1.ReportLayersRequest],
) (*connect.Response[buildv1.ReportLayersResponse], error) {
	forgotten, err := s.layers.Report(ctx, req.Msg.GetBundleDigest(), req.Msg.GetContentDigest())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&buildv1.ReportLayersResponse{Forgotten: forgotten}), nil
}

// caller is the id of the token that a request came with.
func caller(ctx context.Context) string {
	if t := identity.Caller(ctx); t != nil {
		return t.ID
	}
	return ""
}

// share returns what a build on a builder may take from others and give to them; nil: nothing. The builder of this process alone has nobody to
// share with: its layer cache is on the same disk as the blob store.
func (h *Hub) share(ctx context.Context, b *builder, r layer.Recipe) *buildv1.SharedLayers {
	h.mu.Lock()
	alone := b.own && len(h.links) == 1
	h.mu.Unlock()
	if alone || h.layers == nil {
		return nil
	}
	o, err := h.layers.Offer(ctx, b.token, r)
	if err != nil && ctx.Err() == nil {
		h.log.Warn("a build goes without the results of other builders", "error", err)
	}
	if err != nil || o == nil {
		return nil
	}
	return &buildv1.SharedLayers{BundleDigests: o.Bundles, Known: o.Known, Grant: o.Grant, MaxBytes: o.MaxBytes, BaseBundleDigest: o.Base}
}

// Layers is what builders share. Implemented by layer.Service.
type Layers interface {
	// Offer returns what a build may take and give; nil where nothing is shared.
	Offer(ctx context.Context, builder string, r layer.Recipe) (*layer.Offer, error)
}

var _ Layers = (*layer.Service)(nil)
