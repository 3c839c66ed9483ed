package rpc

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/skerry-dev/skerry/gateway/app"
	"github.com/skerry-dev/skerry/gateway/function"
	gatewire "github.com/skerry-dev/skerry/gateway/wire"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/wire"
)

type functionService struct {
	skerryv1connect.UnimplementedFunctionServiceHandler
	d Deps
}

func (s *functionService) GetFunction(ctx context.Context, req *connect.Request[skerryv1.GetFunctionRequest]) (*connect.Response[skerryv1.GetFunctionResponse], error) {
	m := req.Msg
	env, err := app.Environment(m.GetEnvironment())
	if err != nil {
		return nil, err
	}
	if err := ident.CheckName("app", m.GetAppName()); err != nil {
		return nil, err
	}
	if err := ident.CheckName("function", m.GetFunctionName()); err != nil {
		return nil, err
	}
	f, err := s.d.Functions.FunctionByName(ctx, env, m.GetAppName(), m.GetFunctionName())
	if err != nil {
		return nil, err
	}
	def := gatewire.DefinitionToProto(&f.Definition)
	def.Serialized, def.SecretIds = nil, nil
	return connect.NewResponse(&skerryv1.GetFunctionResponse{FunctionId: f.ID, AppId: f.AppID, Definition: def}), nil
}

func (s *functionService) GetFunctionStats(ctx context.Context, req *connect.Request[skerryv1.GetFunctionStatsRequest]) (*connect.Response[skerryv1.GetFunctionStatsResponse], error) {
	id := req.Msg.GetFunctionId()
	if err := ident.Check(ident.Function, id); err != nil {
		return nil, err
	}
	if _, err := s.d.Functions.Function(ctx, id); err != nil {
		return nil, err
	}
	c := s.d.Work.CountByFunction(id)
	return connect.NewResponse(&skerryv1.GetFunctionStatsResponse{
		Backlog: uint32(c.Backlog), NumContainers: uint32(c.Containers), NumRunningInputs: uint32(c.Running),
	}), nil
}

// definitionFromProto turns a definition into the noun, which checks it.
func definitionFromProto(m *skerryv1.FunctionDefinition) (function.Definition, error) {
	d := function.Definition{
		Name: m.GetName(), Module: m.GetModule(), Qualname: m.GetQualname(), ImageID: m.GetImageId(), SecretIDs: m.GetSecretIds(),
		PythonVersion: m.GetPythonVersion(), BlockNetwork: m.GetBlockNetwork(), ClientVersion: m.GetClientVersion(),
	}
	if len(d.ClientVersion) > 64 {
		return d, fault.New(fault.Invalid, "function %.80q: client version is longer than 64 bytes", d.Name)
	}
	if m.GetSerialized() != nil {
		p, err := wire.PayloadFromProto(m.GetSerialized())
		if err != nil {
			return d, err
		}
		d.Serialized = p
	}
	for _, mount := range m.GetMounts() {
		d.Mounts = append(d.Mounts, function.Mount{RemotePath: mount.GetRemotePath(), TreeDigest: mount.GetTreeDigest()})
	}
	r := m.GetResources()
	d.Resources = function.Resources{
		CPUMilli: r.GetCpuMilli(), CPULimitMilli: r.GetCpuLimitMilli(),
		MemoryMiB: r.GetMemoryMib(), MemoryLimitMiB: r.GetMemoryLimitMib(), EphemeralDiskMiB: r.GetEphemeralDiskMib(),
	}
	a := m.GetAutoscaler()
	d.Autoscaler = function.Autoscaler{
		MinContainers: int(a.GetMinContainers()), MaxContainers: int(a.GetMaxContainers()), BufferContainers: int(a.GetBufferContainers()),
	}
	var err error
	if d.Timeout, err = duration(d.Name, "timeout", m.GetTimeout()); err != nil {
		return d, err
	}
	if d.StartupTimeout, err = duration(d.Name, "startup_timeout", m.GetStartupTimeout()); err != nil {
		return d, err
	}
	d.Autoscaler.ScaledownWindow, err = duration(d.Name, "scaledown_window", a.GetScaledownWindow())
	return d, err
}

// duration reads an optional duration; unset is 0, and 0 given is an error, so that it is not taken for unset.
func duration(function, field string, m *durationpb.Duration) (time.Duration, error) {
	if m == nil {
		return 0, nil
	}
	if err := m.CheckValid(); err != nil || m.AsDuration() <= 0 {
		return 0, fault.New(fault.Invalid, "function %.80q: %s: want a duration above 0", function, field)
	}
	return m.AsDuration(), nil
}
