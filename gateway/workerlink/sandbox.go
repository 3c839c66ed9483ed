package workerlink

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/sandbox"
	gatewire "github.com/skerry-dev/skerry/gateway/wire"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/wire"
)

// sandboxes are a linked worker's.
type sandboxes struct {
	rpc workerv1connect.SandboxServiceClient
	log *slog.Logger

	environmentName func(id string) string
}

var _ sandbox.Worker = (*sandboxes)(nil)

// Start implements sandbox.Worker.
func (w *sandboxes) Start(ctx context.Context, spec sandbox.Spec) error {
	_, err := w.rpc.StartSandbox(ctx, connect.NewRequest(&workerv1.StartSandboxRequest{Spec: specToProto(&spec, w.environmentName(spec.Sandbox.Environment))}))
	return fault.FromConnect(err)
}

func specToProto(s *sandbox.Spec, environment string) *workerv1.SandboxSpec {
	sb := &s.Sandbox
	d := sb.Definition
	d.SecretIDs, d.Egress = nil, nil // what they stand for goes as values
	m := &workerv1.SandboxSpec{
		SandboxId: sb.ID, AppId: sb.AppID, AppName: sb.AppName, Environment: environment, Definition: gatewire.SandboxDefinitionToProto(&d),
		Image: wire.RefToProto(s.Image.File), ImageChunked: s.Image.Chunked, ImageEnv: s.Image.Env, ImageWorkdir: s.Image.Workdir,
		SecretEnv: s.SecretEnv, BucketCredentials: gatewire.BucketCredentialsToProto(s.Buckets),
		EgressRules: rulesToProto(s.EgressRules), ExpiresAt: timestamppb.New(sb.ExpiresAt), Record: s.Record,
	}
	if s.Snapshot != nil {
		m.Snapshot = &workerv1.SnapshotRef{SnapshotId: s.Snapshot.ID, ManifestDigest: s.Snapshot.ManifestDigest}
	}
	return m
}

func rulesToProto(rules []sandbox.EgressRule) []*workerv1.EgressRule {
	var messages []*workerv1.EgressRule
	for _, r := range rules {
		messages = append(messages, &workerv1.EgressRule{
			Hosts: r.Hosts, Header: r.Header, Value: r.Value, Placeholder: r.Placeholder, PlaceholderVariable: r.PlaceholderVariable,
		})
	}
	return messages
}

// Stop implements sandbox.Worker.
func (w *sandboxes) Stop(ctx context.Context, id string, reason sandbox.Reason) error {
	_, err := w.rpc.StopSandbox(ctx, connect.NewRequest(&workerv1.StopSandboxRequest{SandboxId: id, Reason: skerryv1.SandboxEndReason(reason)}))
	return fault.FromConnect(err)
}

// Update implements sandbox.Worker.
func (w *sandboxes) Update(ctx context.Context, id string, u sandbox.Update) error {
	m := &workerv1.UpdateSandboxRequest{SandboxId: id, Record: u.Record}
	if !u.ExpiresAt.IsZero() {
		m.ExpiresAt = timestamppb.New(u.ExpiresAt)
	}
	if u.Network != nil {
		m.Network = gatewire.NetworkToProto(u.Network)
	}
	if u.EgressRules != nil {
		m.EgressRules, m.SetEgressRules = rulesToProto(*u.EgressRules), true
	}
	_, err := w.rpc.UpdateSandbox(ctx, connect.NewRequest(m))
	return fault.FromConnect(err)
}

// Forget implements sandbox.Worker.
func (w *sandboxes) Forget(ctx context.Context, id string) error {
	_, err := w.rpc.ForgetSandbox(ctx, connect.NewRequest(&workerv1.ForgetSandboxRequest{SandboxId: id}))
	return fault.FromConnect(err)
}

// Seal implements sandbox.Worker.
func (w *sandboxes) Seal(ctx context.Context, id, environmentID string, variables map[string]string) error {
	_, err := w.rpc.SealEnvironment(ctx, connect.NewRequest(&workerv1.SealEnvironmentRequest{
		SandboxId: id, EnvironmentId: environmentID, Variables: variables,
	}))
	return fault.FromConnect(err)
}

// Usage implements sandbox.Worker.
func (w *sandboxes) Usage(ctx context.Context, id string) (sandbox.Usage, error) {
	res, err := w.rpc.GetSandboxUsage(ctx, connect.NewRequest(&workerv1.GetSandboxUsageRequest{SandboxId: id}))
	if err != nil {
		return sandbox.Usage{}, fault.FromConnect(err)
	}
	m := res.Msg
	return sandbox.Usage{
		CPUTime: m.GetCpuTime().AsDuration(), CPULimitMilli: m.GetCpuLimitMilli(),
		MemoryBytes: m.GetMemoryBytes(), MemoryLimitBytes: m.GetMemoryLimitBytes(), DiskBytes: m.GetDiskBytes(), DiskLimitBytes: m.GetDiskLimitBytes(),
		NetworkReceived: m.GetNetworkReceivedBytes(), NetworkSent: m.GetNetworkSentBytes(), Processes: m.GetProcesses(),
	}, nil
}

// Watch implements sandbox.Worker. What makes no sense is logged and left out: a worker is trusted with sandboxes, not with the gateway.
func (w *sandboxes) Watch(ctx context.Context, changed func(sandbox.Status), complete func()) error {
	stream, err := w.rpc.WatchSandboxes(ctx, connect.NewRequest(&workerv1.WatchSandboxesRequest{}))
	if err != nil {
		return fault.FromConnect(err)
	}
	defer stream.Close() //nolint:errcheck // its error has been returned, or ctx has ended it
	for stream.Receive() {
		if m := stream.Msg().GetSandbox(); m != nil {
			st, err := statusFromProto(m)
			if err != nil {
				w.log.Warn("a worker's word of a sandbox is left out", "error", err)
				continue
			}
			changed(st)
		}
		if stream.Msg().GetComplete() {
			complete()
		}
	}
	if err := stream.Err(); err != nil && !errors.Is(err, io.EOF) {
		return fault.FromConnect(err)
	}
	return nil
}

func statusFromProto(m *workerv1.SandboxStatus) (sandbox.Status, error) {
	st := sandbox.Status{ID: m.GetSandboxId(), State: sandbox.State(gatewire.Byte(m.GetState())), Ready: m.GetReady(), Record: m.GetRecord(), Adopted: m.GetAdopted()}
	if err := ident.Check(ident.Sandbox, st.ID); err != nil {
		return st, err
	}
	if st.State < sandbox.Starting || st.State > sandbox.Ended {
		return st, fault.New(fault.Invalid, "sandbox %q: state %d is unknown", st.ID, m.GetState())
	}
	if m.GetExpiresAt() != nil {
		st.ExpiresAt = m.GetExpiresAt().AsTime()
	}
	if m.GetIdleSince() != nil {
		st.IdleSince = m.GetIdleSince().AsTime()
	}
	var err error
	if st.End, err = gatewire.EndFromProto(m.GetEnd()); err != nil {
		return st, err
	}
	st.Sidecars, err = sidecarsFromProto(m.GetSidecars())
	return st, err
}

// maxSidecars is how many sidecars of a sandbox are remembered; workers remember fewer.
const maxSidecars = 200

// sidecarsFromProto are the sidecars of a sandbox that has ended. What had not ended by its worker's word is lost.
func sidecarsFromProto(list []*skerryv1.SidecarInfo) (sidecars []sandbox.Sidecar, err error) {
	if len(list) > maxSidecars {
		list = list[len(list)-maxSidecars:]
	}
	for _, m := range list {
		c := sandbox.Sidecar{ID: m.GetSidecarId(), Name: m.GetName(), ImageID: m.GetImageId()}
		if err := ident.Check(ident.Sidecar, c.ID); err != nil {
			return nil, err
		}
		end, err := gatewire.EndFromProto(m.GetEnd())
		if err != nil {
			return nil, err
		}
		if c.End = sandbox.LostNow("its sandbox has ended"); end != nil {
			c.End = *end
		}
		sidecars = append(sidecars, c)
	}
	return sidecars, nil
}
