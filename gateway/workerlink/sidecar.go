package workerlink

import (
	"context"
	"errors"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/gateway/sidecar"
	gatewire "github.com/skerry-dev/skerry/gateway/wire"
	"github.com/skerry-dev/skerry/internal/fault"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/wire"
)

var _ sidecar.Worker = (*Snapshots)(nil)

// StartSidecar implements sidecar.Worker.
func (s *Snapshots) StartSidecar(ctx context.Context, spec sidecar.Spec) error {
	d := spec.Definition
	d.SecretIDs = nil // they go as values
	_, err := s.rpc.StartSidecar(ctx, connect.NewRequest(&workerv1.StartSidecarRequest{
		SandboxId: spec.SandboxID, SidecarId: spec.ID, Name: spec.Name, Definition: gatewire.SandboxDefinitionToProto(&d),
		Image: wire.RefToProto(spec.Image.File), ImageChunked: spec.Image.Chunked, ImageEnv: spec.Image.Env, ImageWorkdir: spec.Image.Workdir,
		SecretEnv: spec.SecretEnv,
	}))
	return sidecarFault(err)
}

// Sidecars implements sidecar.Worker.
func (s *Snapshots) Sidecars(ctx context.Context, sandboxID string) ([]sidecar.Sidecar, error) {
	res, err := s.rpc.ListSidecars(ctx, connect.NewRequest(&workerv1.ListSidecarsRequest{SandboxId: sandboxID}))
	if err != nil {
		return nil, sidecarFault(err)
	}
	list := make([]sidecar.Sidecar, 0, len(res.Msg.GetSidecars()))
	for _, m := range res.Msg.GetSidecars() {
		c, err := sidecarFromProto(m)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// WaitSidecar implements sidecar.Worker.
func (s *Snapshots) WaitSidecar(ctx context.Context, sandboxID, name string, limit time.Duration) (sidecar.Sidecar, error) {
	res, err := s.rpc.WaitSidecar(ctx, connect.NewRequest(&workerv1.WaitSidecarRequest{SandboxId: sandboxID, Name: name, Limit: durationpb.New(limit)}))
	if err != nil {
		return sidecar.Sidecar{}, sidecarFault(err)
	}
	return sidecarFromProto(res.Msg.GetSidecar())
}

// StopSidecar implements sidecar.Worker.
func (s *Snapshots) StopSidecar(ctx context.Context, sandboxID, name string) error {
	_, err := s.rpc.StopSidecar(ctx, connect.NewRequest(&workerv1.StopSidecarRequest{SandboxId: sandboxID, Name: name}))
	return sidecarFault(err)
}

// sidecarFault gives an error of a worker its kind, and words for a worker that has no sidecars.
func sidecarFault(err error) error {
	err = fault.FromConnect(err)
	if errors.Is(err, fault.Unimplemented) {
		return fault.New(fault.Unimplemented, "sidecars: the sandbox's worker is of a release that has none; use another sandbox")
	}
	return err
}

func sidecarFromProto(m *workerv1.SidecarStatus) (sidecar.Sidecar, error) {
	c := sidecar.Sidecar{ID: m.GetSidecarId(), Name: m.GetName(), ImageID: m.GetImageId(), State: sandbox.State(gatewire.Byte(m.GetState()))}
	if err := ident.Check(ident.Sidecar, c.ID); err != nil {
		return c, err
	}
	if c.State < sandbox.Starting || c.State > sandbox.Ended {
		return c, fault.New(fault.Invalid, "sidecar %q: state %d is unknown", c.Name, m.GetState())
	}
	var err error
	c.End, err = gatewire.EndFromProto(m.GetEnd())
	return c, err
}
