package gatewaylink

import (
	"context"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/internal/fault"
	buildv1 "github.com/skerry-dev/skerry/internal/gen/skerry/build/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/build/v1/buildv1connect"
	"github.com/skerry-dev/skerry/internal/link"
)

// Layers is how builders learn of one another's results from their gateway. It is safe for concurrent use.
type Layers struct {
	rpc buildv1connect.LayerServiceClient
}

var _ build.Layers = (*Layers)(nil)

// NewLayers returns that of the gateway of a configuration; nothing is dialled yet.
func NewLayers(c Config) *Layers {
	return &Layers{rpc: buildv1connect.NewLayerServiceClient(link.HTTPClient(c.Token, c.TLS), c.URL)}
}

// Store has others find a bundle.
func (l *Layers) Store(ctx context.Context, grant, bundle string) error {
	_, err := l.rpc.StoreLayers(ctx, connect.NewRequest(&buildv1.StoreLayersRequest{Grant: grant, BundleDigest: bundle}))
	return fault.FromConnect(err)
}

// StoreBase has others find the bundle of a base.
func (l *Layers) StoreBase(ctx context.Context, grant, bundle string) error {
	_, err := l.rpc.StoreLayers(ctx, connect.NewRequest(&buildv1.StoreLayersRequest{Grant: grant, BundleDigest: bundle, Base: true}))
	return fault.FromConnect(err)
}

// Report says that a content of a bundle can't be read.
func (l *Layers) Report(ctx context.Context, bundle, content string) (bool, error) {
	res, err := l.rpc.ReportLayers(ctx, connect.NewRequest(&buildv1.ReportLayersRequest{BundleDigest: bundle, ContentDigest: content}))
	if err != nil {
		return false, fault.FromConnect(err)
	}
	return res.Msg.GetForgotten(), nil
}
