package rpc_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/skerry-dev/skerry/gateway/environment"
	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/rpc"
	"github.com/skerry-dev/skerry/gateway/secretrpc"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
)

// world is two workers with a container each, and one that has ended. It is the services' end of an RPC, too: it notes whose rights it had.
type world struct {
	skerryv1connect.UnimplementedCallServiceHandler
	own, others, foreign, gone, forgotten string // containers
	worker, other, admin                  identity.Credential
	url                                   string
	visible                               string         // what is in the environment of limited tokens
	tokens                                *limitedTokens // where those are kept

	scope   identity.Scope
	limited bool
}

// noTokens is a store of tokens without any.
type noTokens struct{ identity.Store }

func (noTokens) Token(context.Context, string) (*identity.Record, error) {
	return nil, fault.New(fault.NotFound, "no such token")
}

const ownEnvironment, appID = "main", "ap-0123456789abcdefghijkl"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		own: ident.New(ident.Container), others: ident.New(ident.Container), foreign: ident.New(ident.Container), gone: ident.New(ident.Container),
		forgotten: ident.New(ident.Container),
	}
	tokens := identity.New(noTokens{})
	w.worker, w.other = tokens.Ephemeral("one", identity.Worker), tokens.Ephemeral("two", identity.Worker)
	w.admin = tokens.Ephemeral("me", identity.Admin)
	w.serve(t, tokens)
	return w
}

// serve starts the services, with the given tokens.
func (w *world) serve(t *testing.T, tokens *identity.Service) {
	t.Helper()
	known := environment.New(environment.Deps{Store: twoEnvironments{}})
	if err := known.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	handler := rpc.NewHandler(rpc.Deps{
		Tokens: tokens, Where: w, Owners: w, Environments: known, CallService: w,
		AppService:       skerryv1connect.UnimplementedAppServiceHandler{},
		FunctionService:  skerryv1connect.UnimplementedFunctionServiceHandler{},
		ScheduleService:  skerryv1connect.UnimplementedScheduleServiceHandler{},
		ContainerService: skerryv1connect.UnimplementedContainerServiceHandler{},

		SecretService:       secretrpc.NewService(nil, nil),
		TunnelService:       skerryv1connect.UnimplementedTunnelServiceHandler{},
		VolumeService:       skerryv1connect.UnimplementedVolumeServiceHandler{},
		DictService:         skerryv1connect.UnimplementedDictServiceHandler{},
		QueueService:        skerryv1connect.UnimplementedQueueServiceHandler{},
		SandboxService:      skerryv1connect.UnimplementedSandboxServiceHandler{},
		SandboxWatchService: skerryv1connect.UnimplementedSandboxWatchServiceHandler{},
		SnapshotService:     skerryv1connect.UnimplementedSnapshotServiceHandler{},
		SidecarService:      skerryv1connect.UnimplementedSidecarServiceHandler{},
		Relay:               http.NotFoundHandler(),
	}, rpc.Options(slog.New(slog.DiscardHandler)))
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	w.url = server.URL
}

func (w *world) Identify(id string) (task.Identity, bool) {
	switch id {
	case w.own, w.others, w.gone:
		return task.Identity{AppID: appID, Environment: ownEnvironment}, true
	case w.foreign:
		return task.Identity{AppID: ident.New(ident.App), Environment: "other"}, true
	}
	return task.Identity{}, false
}

func (w *world) WorkerToken(id string) (string, error) {
	switch id {
	case w.own, w.forgotten:
		return w.worker.ID, nil
	case w.others, w.foreign:
		return w.other.ID, nil
	}
	return "", fault.New(fault.NotFound, "container %q: does not run", id)
}

func (w *world) GetCall(ctx context.Context, _ *connect.Request[skerryv1.GetCallRequest]) (*connect.Response[skerryv1.GetCallResponse], error) {
	w.scope, w.limited = identity.ScopeOf(ctx)
	return connect.NewResponse(&skerryv1.GetCallResponse{}), nil
}

func (w *world) Session(_ context.Context, stream *connect.BidiStream[skerryv1.SessionRequest, skerryv1.SessionResponse]) error {
	if _, err := stream.Receive(); err != nil {
		return err
	}
	return connect.NewError(connect.CodeUnimplemented, errors.New("no more than its first frame"))
}

// post calls a procedure with a token for a container (empty: none), and returns the code of the answer, empty for none.
func (w *world) post(t *testing.T, path string, token identity.Credential, container, body string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token.Encode())
	r.Header.Set("Content-Type", "application/json")
	if container != "" {
		r.Header.Set(rpc.ContainerHeader, container)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	if res.StatusCode == http.StatusOK {
		return ""
	}
	var answer struct {
		Code string `json:"code"`
	}
	if len(text) == 0 || json.Unmarshal(text, &answer) != nil || answer.Code == "" {
		return res.Status
	}
	return answer.Code
}

// stream is post for procedures that are streams: it sends one frame.
func (w *world) stream(t *testing.T, path string, token identity.Credential, container, body string) string {
	t.Helper()
	frame := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...) //nolint:gosec // short
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+path, bytes.NewReader(frame))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token.Encode())
	r.Header.Set("Content-Type", "application/connect+json")
	if container != "" {
		r.Header.Set(rpc.ContainerHeader, container)
	}
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	var end struct {
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	if len(text) < 5 || json.Unmarshal(text[5:], &end) != nil {
		return res.Status
	}
	return end.Error.Code
}

// TestWhoMayCall has containers' requests pass that come from the worker which runs them, with the container's rights and no more.
func TestWhoMayCall(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		token     identity.Credential
		container string
		code      string
	}{
		"a client":                                   {w.admin, "", ""},
		"a container":                                {w.worker, w.own, ""},
		"a worker for itself":                        {w.worker, "", "permission_denied"},
		"a client for a container":                   {w.admin, w.own, "permission_denied"},
		"a worker for another's container":           {w.worker, w.others, "permission_denied"},
		"a container that has ended":                 {w.worker, w.gone, "permission_denied"},
		"a container that is forgotten":              {w.worker, w.forgotten, "permission_denied"},
		"a container that there never was":           {w.worker, ident.New(ident.Container), "permission_denied"},
		"what is no container's id":                  {w.worker, "ta-*", "invalid_argument"},
		"a token that there is not":                  {identity.Credential{ID: ident.New(ident.Token), Secret: "x"}, "", "unauthenticated"},
		"a token that there is not, for a container": {identity.Credential{ID: ident.New(ident.Token), Secret: "x"}, w.own, "unauthenticated"},
	} {
		w.scope, w.limited = identity.Scope{}, false
		if code := w.post(t, skerryv1connect.CallServiceGetCallProcedure, c.token, c.container, "{}"); code != c.code {
			t.Errorf("%s: %q, want %q", name, code, c.code)
		}
		want := identity.Scope{}
		if c.code == "" && c.container != "" {
			want = identity.Scope{ContainerID: w.own, AppID: appID, Environment: ownEnvironment}
		}
		if w.scope != want || w.limited != (want != identity.Scope{}) {
			t.Errorf("%s: has the rights of %+v, %t", name, w.scope, w.limited)
		}
	}
}

// allowed are the procedures for code in containers, each with the reason.
var allowed = map[string]string{
	"CallService/Session":               "functions call functions",
	"CallService/GetCall":               "and look at calls",
	"CallService/GetCallGraph":          "and what they are made of",
	"CallService/CancelCall":            "and cancel them",
	"FunctionService/GetFunction":       "functions are found by name",
	"FunctionService/GetFunctionStats":  "and measured",
	"FunctionService/BindFunction":      "and given parameters and options",
	"FunctionService/UpdateAutoscaler":  "and scaled",
	"BlobService/Upload":                "arguments may be large",
	"BlobService/Download":              "and so may results",
	"AppService/LookupApp":              "apps are found by name",
	"AppService/GetApp":                 "and their functions",
	"AppService/SetAppTags":             "of the container's own app",
	"LogService/StreamLogs":             "logs of calls",
	"EnvironmentService/GetEnvironment": "the container's own",
	"SecretService/GetSecret":           "secrets of the environment are found by name",
	"SecretService/DescribeSecret":      "and looked at from outside",
	"SecretService/CreateSecret":        "for options of the container's own app",
	"ImageService/BuildImage":           "sandboxes have images",
	"ImageService/GetImage":             "and those are looked at",
	"ImageService/GetImageByName":       "and found by name",
	"MountService/CreateMount":          "and have files",
}

// allowedServices are those of which code in containers may call all.
var allowedServices = map[string]string{
	"SandboxService":      "sandboxes of the container's own app",
	"SandboxWatchService": "and what they do",
	"SnapshotService":     "and what they were",
	"SidecarService":      "and what is beside them",
	"VolumeService":       "volumes of the container's environment",
	"DictService":         "dicts of the container's environment",
	"QueueService":        "queues of the container's environment",
}

// TestWhatContainersMayCall goes through all procedures there are.
func TestWhatContainersMayCall(t *testing.T) {
	w := newWorld(t)
	var met []string
	protoregistry.GlobalFiles.RangeFilesByPackage("skerry.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				name := string(s.Name()) + "/" + string(s.Methods().Get(j).Name())
				code := w.post(t, "/skerry.v1."+name, w.worker, w.own, "{}")
				if refused := code == "permission_denied"; refused == (allowed[name]+allowedServices[string(s.Name())] != "") {
					t.Errorf("%s answers %q", name, code)
				}
				met = append(met, name)
			}
		}
		return true
	})
	for name := range allowed {
		if !slices.Contains(met, name) {
			t.Errorf("there is no %s", name)
		}
	}
	if code := w.post(t, "/elsewhere", w.worker, w.own, "{}"); code != "permission_denied" {
		t.Errorf("another path answers %q", code)
	}
}

// TestRightsOfAContainer end at its app and its environment.
func TestRightsOfAContainer(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct{ path, body, code string }{
		"a secret for another app": {skerryv1connect.SecretServiceCreateSecretProcedure, `{"appId":"` + ident.New(ident.App) + `"}`, "permission_denied"},
		"a secret for no app":      {skerryv1connect.SecretServiceCreateSecretProcedure, `{}`, "invalid_argument"},
	} {
		if code := w.post(t, c.path, w.worker, w.own, c.body); code != c.code {
			t.Errorf("%s: %q, want %q", name, code, c.code)
		}
	}
	client := skerryv1connect.NewLogServiceClient(http.DefaultClient, w.url)
	for name, m := range map[string]*skerryv1.StreamLogsRequest{
		"logs of another environment's container": {ContainerId: w.foreign},
		"logs of another environment's app":       {App: "a", Environment: "other"},
	} {
		r := connect.NewRequest(m)
		r.Header().Set("Authorization", "Bearer "+w.worker.Encode())
		r.Header().Set(rpc.ContainerHeader, w.own)
		stream, err := client.StreamLogs(t.Context(), r)
		if err == nil {
			stream.Receive()
			err = errors.Join(stream.Err(), stream.Close())
		}
		if connect.CodeOf(err) != connect.CodeNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
}
