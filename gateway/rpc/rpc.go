// Package rpc serves the gateway's public services: it checks what came over the wire, calls the nouns, and turns their errors into
// Connect codes.
package rpc

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/app"
	"github.com/skerry-dev/skerry/gateway/cron"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/image"
	"github.com/skerry-dev/skerry/gateway/logs"
	"github.com/skerry-dev/skerry/gateway/mount"
	"github.com/skerry-dev/skerry/gateway/secret"
	"github.com/skerry-dev/skerry/gateway/task"
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

// Work counts work and finds containers. Implemented by task.Scheduler.
type Work interface {
	// CountByApp counts an app's work.
	CountByApp(appID string) task.Counts
	// CountByFunction counts a function's work.
	CountByFunction(functionID string) task.Counts
	// Identify says whose a container is, or was within the last minutes.
	Identify(containerID string) (task.Identity, bool)
}

// Deps are what the services work with. All are required.
type Deps struct {
	Apps       *app.Service
	Functions  function.Store
	Images     *image.Service
	Mounts     *mount.Service
	Blobs      *blob.Store
	Secrets    *secret.Service
	Tokens     *identity.Service
	Logs       *logs.Service
	Work       Work
	Where      Places
	Schedules  *cron.Service
	Calls      skerryv1connect.CallServiceHandler
	Containers skerryv1connect.ContainerServiceHandler
	// Version is the gateway's, as clients are told.
	Version string
}

// NewHandler returns the handler of all public services, for clients with an admin token and, as far as they may, code in containers. Options are those of Options.
func NewHandler(d Deps, opts []connect.HandlerOption) http.Handler {
	small := append([]connect.HandlerOption{connect.WithReadMaxBytes(MaxMessage), connect.WithCompressMinBytes(minCompressed)}, opts...)
	// Payloads are mostly compressed or small already; gzip in Go would be slower than the network.
	raw := append([]connect.HandlerOption{connect.WithReadMaxBytes(MaxMessage), connect.WithCompression("gzip", nil, nil)}, opts...)
	mux := http.NewServeMux()
	mux.Handle(skerryv1connect.NewAppServiceHandler(&appService{d: d}, small...))
	mux.Handle(skerryv1connect.NewFunctionServiceHandler(&functionService{d: d}, small...))
	mux.Handle(skerryv1connect.NewImageServiceHandler(&imageService{d}, small...))
	mux.Handle(skerryv1connect.NewMountServiceHandler(&mountService{d}, small...))
	mux.Handle(skerryv1connect.NewSecretServiceHandler(&secretService{d}, small...))
	mux.Handle(skerryv1connect.NewTokenServiceHandler(&tokenService{d}, small...))
	mux.Handle(skerryv1connect.NewLogServiceHandler(&logService{d}, small...))
	mux.Handle(skerryv1connect.NewScheduleServiceHandler(&scheduleService{d}, small...))
	mux.Handle(skerryv1connect.NewBlobServiceHandler(&blobService{d}, raw...))
	mux.Handle(skerryv1connect.NewCallServiceHandler(d.Calls, raw...))
	mux.Handle(skerryv1connect.NewContainerServiceHandler(d.Containers, raw...))
	return authenticate(d.Tokens, d.Where, mux)
}

// caller returns the token of the request; Authenticate has put it there.
func caller(ctx context.Context) *identity.Token { return identity.Caller(ctx) }
