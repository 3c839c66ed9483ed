package rpc

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
)

// ContainerHeader names, in a request that a worker passes on, the container whose code has made it.
const ContainerHeader = "X-Skerry-Container"

// Places says where containers are and whose. Implemented in gateway/server.
type Places interface {
	// Identify says whose a container is, or was within the last minutes.
	Identify(containerID string) (task.Identity, bool)
	// WorkerToken returns the id of the token with which the worker of a container that runs has joined, or a fault.NotFound.
	WorkerToken(containerID string) (string, error)
}

// open are the procedures that code in containers may call. What they concern is checked where they are served.
var open = map[string]bool{
	skerryv1connect.CallServiceSessionProcedure:               true,
	skerryv1connect.CallServiceGetCallProcedure:               true,
	skerryv1connect.CallServiceGetCallGraphProcedure:          true,
	skerryv1connect.CallServiceCancelCallProcedure:            true,
	skerryv1connect.FunctionServiceGetFunctionProcedure:       true,
	skerryv1connect.FunctionServiceGetFunctionStatsProcedure:  true,
	skerryv1connect.FunctionServiceBindFunctionProcedure:      true,
	skerryv1connect.FunctionServiceUpdateAutoscalerProcedure:  true,
	skerryv1connect.BlobServiceUploadProcedure:                true,
	skerryv1connect.BlobServiceDownloadProcedure:              true,
	skerryv1connect.AppServiceLookupAppProcedure:              true,
	skerryv1connect.AppServiceGetAppProcedure:                 true,
	skerryv1connect.AppServiceSetAppTagsProcedure:             true,
	skerryv1connect.LogServiceStreamLogsProcedure:             true,
	skerryv1connect.EnvironmentServiceGetEnvironmentProcedure: true,
	skerryv1connect.SecretServiceGetSecretProcedure:           true,
	skerryv1connect.SecretServiceDescribeSecretProcedure:      true,
	skerryv1connect.SecretServiceCreateSecretProcedure:        true,
	skerryv1connect.ImageServiceBuildImageProcedure:           true,
	skerryv1connect.ImageServiceGetImageProcedure:             true,
	skerryv1connect.ImageServiceGetImageByNameProcedure:       true,
	skerryv1connect.MountServiceCreateMountProcedure:          true,
}

// openPrefixes begin the paths that code in containers may call besides: sandboxes of its app, volumes, dicts and queues of its environment.
var openPrefixes = []string{
	"/" + skerryv1connect.SandboxServiceName + "/", "/" + skerryv1connect.SandboxWatchServiceName + "/",
	"/" + skerryv1connect.SnapshotServiceName + "/", "/" + skerryv1connect.SidecarServiceName + "/", sandboxPrefix,
	"/" + skerryv1connect.VolumeServiceName + "/",
	"/" + skerryv1connect.DictServiceName + "/", "/" + skerryv1connect.QueueServiceName + "/",
}

func isOpen(path string) bool {
	return open[path] || slices.ContainsFunc(openPrefixes, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
}

// authenticate lets clients with an admin token through, and what workers pass on for their containers as far as those may go.
func authenticate(tokens *identity.Service, containers Places, next http.Handler) http.Handler {
	clients := Authenticate(tokens, next, identity.Admin)
	workers := admit(tokens, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scope, err := scopeOf(r, containers)
		if err != nil {
			refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(identity.WithScope(r.Context(), scope)))
	}), identity.Worker)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(ContainerHeader) != "" {
			workers.ServeHTTP(w, r)
			return
		}
		clients.ServeHTTP(w, r)
	})
}

// scopeOf checks that the worker runs the container, and that containers may call the procedure.
func scopeOf(r *http.Request, containers Places) (identity.Scope, error) {
	id := r.Header.Get(ContainerHeader)
	if err := ident.CheckAnyContainer(id); err != nil {
		return identity.Scope{}, err
	}
	token, err := containers.WorkerToken(id)
	if err != nil || token != identity.Caller(r.Context()).ID {
		return identity.Scope{}, fault.New(fault.Denied, "container %q: does not run on this worker", id)
	}
	who, ok := containers.Identify(id)
	if !ok {
		return identity.Scope{}, fault.New(fault.Denied, "container %q: does not run any more", id)
	}
	if !isOpen(r.URL.Path) {
		return identity.Scope{}, fault.New(fault.Denied, "%s: code in containers may not call it; use a client with a token", r.URL.Path)
	}
	return identity.Scope{ContainerID: id, AppID: who.AppID, Environment: who.Environment}, nil
}

// refuse answers in the protocol that the request came in.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	errs := connect.NewErrorWriter()
	if errs.IsSupported(r) {
		// A client that has gone is no concern of ours.
		_ = errs.Write(w, r, fault.ToConnect(err))
		return
	}
	status := http.StatusUnauthorized
	if errors.Is(err, fault.Denied) {
		status = http.StatusForbidden
	}
	http.Error(w, err.Error(), status)
}
