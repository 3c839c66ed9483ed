// Package rpc serves the gateway's public services: it checks what came over the wire, calls the nouns, and turns their errors into
// Connect codes.
package rpc

import (
	"net/http"
	"slices"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/app"
	"github.com/skerry-dev/skerry/gateway/environment"
	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/image"
	"github.com/skerry-dev/skerry/gateway/logs"
	"github.com/skerry-dev/skerry/gateway/mount"
	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
)

// Limits of messages in bytes.
const (
	// MaxMessage bounds one message of most services; a mount of 100,000 files is the largest.
	MaxMessage = 64 << 20
	// MaxFrame is the largest piece of a blob in one message.
	MaxFrame = 1 << 20
	// minCompressed is the size under which compressing costs more than it saves.
	minCompressed = 64 << 10
)

// Deps are what the services work with, and services that have packages of their own. All are required.
type Deps struct {
	Apps   *app.Service
	Images *image.Service
	Mounts *mount.Service
	Blobs  *blob.Store
	Tokens *identity.Service
	Logs   *logs.Service
	Where  Places
	Owners Owners
	// Environments are those that requests name.
	Environments *environment.Service
	// Version is the gateway's, as clients are told.
	Version string

	AppService       skerryv1connect.AppServiceHandler
	FunctionService  skerryv1connect.FunctionServiceHandler
	ScheduleService  skerryv1connect.ScheduleServiceHandler
	CallService      skerryv1connect.CallServiceHandler
	ContainerService skerryv1connect.ContainerServiceHandler

	SandboxService      skerryv1connect.SandboxServiceHandler
	SandboxWatchService skerryv1connect.SandboxWatchServiceHandler
	SnapshotService     skerryv1connect.SnapshotServiceHandler
	SidecarService      skerryv1connect.SidecarServiceHandler
	SecretService       skerryv1connect.SecretServiceHandler
	TunnelService       skerryv1connect.TunnelServiceHandler
	VolumeService       skerryv1connect.VolumeServiceHandler
	DictService         skerryv1connect.DictServiceHandler
	QueueService        skerryv1connect.QueueServiceHandler
	// Relay serves what is inside sandboxes, below sandboxPrefix.
	Relay http.Handler
}

// sandboxPrefix is the path below which sandboxes are served.
const sandboxPrefix = "/sandboxes/"

// NewHandler returns the handler of all public services, for clients with an admin token and, as far as they may, code in containers. Options are those of Options.
func NewHandler(d Deps, opts []connect.HandlerOption) http.Handler {
	opts = append(slices.Clone(opts), connect.WithInterceptors(&limits{owners: d.Owners}))
	small := append([]connect.HandlerOption{connect.WithReadMaxBytes(MaxMessage), connect.WithCompressMinBytes(minCompressed)}, opts...)
	// Payloads are mostly compressed or small already; gzip in Go would be slower than the network.
	raw := append([]connect.HandlerOption{connect.WithReadMaxBytes(MaxMessage), connect.WithCompression("gzip", nil, nil)}, opts...)
	mux := http.NewServeMux()
	mux.Handle(skerryv1connect.NewAppServiceHandler(d.AppService, small...))
	mux.Handle(skerryv1connect.NewFunctionServiceHandler(d.FunctionService, small...))
	mux.Handle(skerryv1connect.NewImageServiceHandler(&imageService{d}, small...))
	mux.Handle(skerryv1connect.NewMountServiceHandler(&mountService{d}, small...))
	mux.Handle(skerryv1connect.NewSecretServiceHandler(d.SecretService, small...))
	mux.Handle(skerryv1connect.NewTokenServiceHandler(&tokenService{d}, small...))
	mux.Handle(skerryv1connect.NewLogServiceHandler(&logService{d}, small...))
	mux.Handle(skerryv1connect.NewScheduleServiceHandler(d.ScheduleService, small...))
	mux.Handle(skerryv1connect.NewBlobServiceHandler(&blobService{d}, raw...))
	mux.Handle(skerryv1connect.NewCallServiceHandler(d.CallService, raw...))
	mux.Handle(skerryv1connect.NewContainerServiceHandler(d.ContainerService, raw...))
	mux.Handle(skerryv1connect.NewSandboxServiceHandler(d.SandboxService, small...))
	mux.Handle(skerryv1connect.NewTunnelServiceHandler(d.TunnelService, small...))
	mux.Handle(skerryv1connect.NewVolumeServiceHandler(d.VolumeService, raw...))
	mux.Handle(skerryv1connect.NewSandboxWatchServiceHandler(d.SandboxWatchService, small...))
	mux.Handle(skerryv1connect.NewSnapshotServiceHandler(d.SnapshotService, small...))
	mux.Handle(skerryv1connect.NewSidecarServiceHandler(d.SidecarService, small...))
	mux.Handle(skerryv1connect.NewEnvironmentServiceHandler(&environmentService{d}, small...))
	mux.Handle(skerryv1connect.NewDictServiceHandler(d.DictService, raw...))
	mux.Handle(skerryv1connect.NewQueueServiceHandler(d.QueueService, raw...))
	mux.Handle(sandboxPrefix, d.Relay)
	named := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r.WithContext(identity.WithEnvironments(r.Context(), d.Environments)))
	})
	return authenticate(d.Tokens, d.Where, named)
}
