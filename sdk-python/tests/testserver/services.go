package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
)

func now() *timestamppb.Timestamp { return timestamppb.New(time.Now()) }

type apps struct {
	skerryv1connect.UnimplementedAppServiceHandler
	*state
}

func (a *apps) CreateApp(
	context.Context, *connect.Request[skerryv1.CreateAppRequest],
) (*connect.Response[skerryv1.CreateAppResponse], error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.apps++
	return connect.NewResponse(&skerryv1.CreateAppResponse{AppId: fmt.Sprintf("ap-%022d", a.apps)}), nil
}

func (a *apps) PublishApp(
	_ context.Context, r *connect.Request[skerryv1.PublishAppRequest],
) (*connect.Response[skerryv1.PublishAppResponse], error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	encoded, err := proto.Marshal(r.Msg)
	if err != nil {
		return nil, err
	}
	a.report.Published[r.Msg.GetAppId()] = hex.EncodeToString(encoded)
	ids := map[string]string{}
	for _, f := range r.Msg.GetFunctions() {
		ids[f.GetName()] = "fu-" + f.GetName()
	}
	response := &skerryv1.PublishAppResponse{AppId: r.Msg.GetAppId(), FunctionIds: ids}
	if r.Msg.GetName() != "" {
		response.Version = 1
	}
	return connect.NewResponse(response), nil
}

func (a *apps) ReserveFunctions(
	_ context.Context, r *connect.Request[skerryv1.ReserveFunctionsRequest],
) (*connect.Response[skerryv1.ReserveFunctionsResponse], error) {
	ids := map[string]string{}
	for _, name := range r.Msg.GetFunctionNames() {
		ids[name] = "fu-" + name
	}
	return connect.NewResponse(&skerryv1.ReserveFunctionsResponse{FunctionIds: ids}), nil
}

func (a *apps) Heartbeat(
	context.Context, *connect.Request[skerryv1.HeartbeatRequest],
) (*connect.Response[skerryv1.HeartbeatResponse], error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.report.Heartbeats++
	return connect.NewResponse(&skerryv1.HeartbeatResponse{}), nil
}

func (a *apps) StopApp(
	_ context.Context, r *connect.Request[skerryv1.StopAppRequest],
) (*connect.Response[skerryv1.StopAppResponse], error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.report.Stopped[r.Msg.GetApp()] = int32(r.Msg.GetReason())
	a.changed.Broadcast()
	return connect.NewResponse(&skerryv1.StopAppResponse{AppId: r.Msg.GetApp()}), nil
}

func (a *apps) ListApps(
	context.Context, *connect.Request[skerryv1.ListAppsRequest],
) (*connect.Response[skerryv1.ListAppsResponse], error) {
	app := &skerryv1.AppInfo{AppId: "ap-1", Description: "demo", State: skerryv1.AppState_APP_STATE_DEPLOYED, CreatedAt: now()}
	return connect.NewResponse(&skerryv1.ListAppsResponse{Apps: []*skerryv1.AppInfo{app}}), nil
}

type functions struct {
	skerryv1connect.UnimplementedFunctionServiceHandler
	*state
}

func (f *functions) GetFunction(
	_ context.Context, r *connect.Request[skerryv1.GetFunctionRequest],
) (*connect.Response[skerryv1.GetFunctionResponse], error) {
	if r.Msg.GetAppName() == "missing" {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("app %q: not found", r.Msg.GetAppName()))
	}
	return connect.NewResponse(&skerryv1.GetFunctionResponse{FunctionId: "fu-" + r.Msg.GetFunctionName()}), nil
}

// BindFunction gives every request the same id of its own.
func (f *functions) BindFunction(
	_ context.Context, r *connect.Request[skerryv1.BindFunctionRequest],
) (*connect.Response[skerryv1.BindFunctionResponse], error) {
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.Msg)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.report.Bound = append(f.report.Bound, hex.EncodeToString(encoded))
	return connect.NewResponse(&skerryv1.BindFunctionResponse{FunctionId: r.Msg.GetFunctionId() + "-" + digestOf(encoded)[7:15]}), nil
}

type images struct {
	skerryv1connect.UnimplementedImageServiceHandler
	*state
}

// BuildImage fails on a command that contains "false".
func (i *images) BuildImage(
	_ context.Context, r *connect.Request[skerryv1.BuildImageRequest], stream *connect.ServerStream[skerryv1.BuildImageResponse],
) error {
	encoded, err := proto.Marshal(r.Msg.GetRecipe())
	if err != nil {
		return err
	}
	i.mu.Lock()
	i.report.Recipes = append(i.report.Recipes, hex.EncodeToString(encoded))
	i.mu.Unlock()
	step := &skerryv1.BuildStep{Number: 1, Total: 1, Name: "a step", State: skerryv1.BuildStepState_BUILD_STEP_STATE_RUNNING}
	log := &skerryv1.BuildLog{Step: 1, Lines: []string{"a line of the build"}}
	events := []*skerryv1.BuildImageResponse{
		{Event: &skerryv1.BuildImageResponse_Step{Step: step}},
		{Event: &skerryv1.BuildImageResponse_Log{Log: log}},
		{Event: &skerryv1.BuildImageResponse_Built{Built: &skerryv1.ImageBuilt{ImageId: "im-" + digestOf(encoded)[7:29]}}},
	}
	for _, s := range r.Msg.GetRecipe().GetSteps() {
		if command := strings.Join(s.GetRunCommands().GetCommands(), ";"); strings.Contains(command, "false") {
			failed := &skerryv1.BuildFailed{
				RecipeStep: 1, Step: "run", Command: command, ExitCode: 3, LastLines: []string{"oh no"}, Message: "a step failed"}
			events[2] = &skerryv1.BuildImageResponse{Event: &skerryv1.BuildImageResponse_Failed{Failed: failed}}
		}
	}
	for _, event := range events {
		if err := stream.Send(event); err != nil {
			return err
		}
	}
	return nil
}

// PublishImage keeps the name until the server ends.
func (i *images) PublishImage(
	_ context.Context, r *connect.Request[skerryv1.PublishImageRequest],
) (*connect.Response[skerryv1.PublishImageResponse], error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.names[r.Msg.GetName()+":"+r.Msg.GetTag()] = r.Msg.GetImageId()
	return connect.NewResponse(&skerryv1.PublishImageResponse{}), nil
}

// GetImageByName knows what PublishImage was told.
func (i *images) GetImageByName(
	_ context.Context, r *connect.Request[skerryv1.GetImageByNameRequest],
) (*connect.Response[skerryv1.GetImageByNameResponse], error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	id, ok := i.names[r.Msg.GetName()+":"+r.Msg.GetTag()]
	if !ok {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("image %q: not found", r.Msg.GetName()))
	}
	return connect.NewResponse(&skerryv1.GetImageByNameResponse{ImageId: id}), nil
}

// GetImageLog has two lines of each of two layers.
func (i *images) GetImageLog(
	_ context.Context, r *connect.Request[skerryv1.GetImageLogRequest],
) (*connect.Response[skerryv1.GetImageLogResponse], error) {
	res := &skerryv1.GetImageLogResponse{}
	for n := range uint32(2) {
		step := &skerryv1.ImageLogStep{Step: &skerryv1.BuildStep{Number: n + 1, RecipeStep: n}}
		for line := range 2 {
			step.Lines = append(step.Lines, &skerryv1.ImageLogLine{
				Time: timestamppb.New(time.Unix(int64(n), 0)), Text: fmt.Sprintf("%s %d.%d", r.Msg.GetImageId()[:2], n, line),
			})
		}
		res.Steps = append(res.Steps, step)
	}
	return connect.NewResponse(res), nil
}

type mounts struct{ *state }

func (m *mounts) CreateMount(
	_ context.Context, r *connect.Request[skerryv1.CreateMountRequest],
) (*connect.Response[skerryv1.CreateMountResponse], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	response := &skerryv1.CreateMountResponse{}
	for _, file := range r.Msg.GetFiles() {
		if _, ok := m.blobs[file.GetDigest()]; !ok {
			response.MissingDigests = append(response.MissingDigests, file.GetDigest())
		}
	}
	if len(response.GetMissingDigests()) == 0 {
		encoded, err := proto.Marshal(r.Msg)
		if err != nil {
			return nil, err
		}
		response.TreeDigest = digestOf(encoded)
		m.blobs[response.GetTreeDigest()] = encoded
	}
	return connect.NewResponse(response), nil
}

type blobs struct{ *state }

func (b *blobs) Upload(
	_ context.Context, stream *connect.ClientStream[skerryv1.UploadRequest],
) (*connect.Response[skerryv1.UploadResponse], error) {
	var ref *skerryv1.BlobRef
	var data []byte
	for stream.Receive() {
		if ref == nil {
			ref = stream.Msg().GetBlob()
		}
		data = append(data, stream.Msg().GetData()...)
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	if ref.GetDigest() != digestOf(data) || ref.GetSize() != uint64(len(data)) {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("blob: digest does not match"))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blobs[ref.GetDigest()] = data
	b.report.Uploads++
	return connect.NewResponse(&skerryv1.UploadResponse{}), nil
}

func (b *blobs) Download(
	_ context.Context, r *connect.Request[skerryv1.DownloadRequest], stream *connect.ServerStream[skerryv1.DownloadResponse],
) error {
	b.mu.Lock()
	data, ok := b.blobs[r.Msg.GetDigest()]
	b.mu.Unlock()
	if !ok {
		return connect.NewError(connect.CodeNotFound, errors.New("blob not found"))
	}
	for data = data[r.Msg.GetOffset():]; len(data) > 0; {
		n := min(len(data), 1<<20)
		if err := stream.Send(&skerryv1.DownloadResponse{Data: data[:n]}); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

type secrets struct {
	skerryv1connect.UnimplementedSecretServiceHandler
	*state
}

func (s *secrets) CreateSecret(
	_ context.Context, r *connect.Request[skerryv1.CreateSecretRequest],
) (*connect.Response[skerryv1.CreateSecretResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Secrets = append(s.report.Secrets, r.Msg.GetVariables())
	return connect.NewResponse(&skerryv1.CreateSecretResponse{SecretId: fmt.Sprintf("st-%d", len(s.report.Secrets))}), nil
}

type logs struct{ *state }

// StreamLogs follows until the app is stopped.
func (l *logs) StreamLogs(
	ctx context.Context, r *connect.Request[skerryv1.StreamLogsRequest], stream *connect.ServerStream[skerryv1.StreamLogsResponse],
) error {
	encoded, err := proto.Marshal(r.Msg)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.report.LogRequests = append(l.report.LogRequests, hex.EncodeToString(encoded))
	l.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.changed.Broadcast()
	})
	defer stop()
	for next := 0; ; {
		l.mu.Lock()
		_, stopped := l.report.Stopped[r.Msg.GetApp()]
		for next == len(l.entries) && r.Msg.GetFollow() && !stopped && ctx.Err() == nil {
			l.changed.Wait()
			_, stopped = l.report.Stopped[r.Msg.GetApp()]
		}
		var batch []*skerryv1.LogEntry
		for ; next < len(l.entries); next++ {
			if l.logApps[next] == "" || l.logApps[next] == r.Msg.GetApp() {
				batch = append(batch, l.entries[next])
			}
		}
		l.mu.Unlock()
		if len(batch) > 0 {
			if err := stream.Send(&skerryv1.StreamLogsResponse{Entries: batch}); err != nil {
				return err
			}
		}
		if stopped || !r.Msg.GetFollow() || ctx.Err() != nil {
			return nil
		}
	}
}

type tokens struct {
	skerryv1connect.UnimplementedTokenServiceHandler
}

func (*tokens) GetTokenInfo(
	context.Context, *connect.Request[skerryv1.GetTokenInfoRequest],
) (*connect.Response[skerryv1.GetTokenInfoResponse], error) {
	return connect.NewResponse(&skerryv1.GetTokenInfoResponse{TokenId: "tk-test", Name: "test", CreatedAt: now(), ServerVersion: "0"}), nil
}
