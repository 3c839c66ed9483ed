package workerlink

import (
	"fmt"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/wire"
)

func startToProto(s *task.Spec) *workerv1.StartContainer {
	return &workerv1.StartContainer{
		ContainerId:    s.ContainerID,
		AppId:          s.Function.AppID,
		AppName:        s.Function.AppName,
		FunctionId:     s.Function.ID,
		Definition:     DefinitionToProto(&s.Function.Definition),
		Image:          wire.RefToProto(s.Image.File),
		ImageEnv:       s.Image.Env,
		ImageWorkdir:   s.Image.Workdir,
		SecretEnv:      s.SecretEnv,
		Environment:    s.Function.Environment,
		AppFunctionIds: s.AppFunctionIDs,
	}
}

// DefinitionToProto returns the message of a definition.
func DefinitionToProto(d *function.Definition) *skerryv1.FunctionDefinition {
	m := &skerryv1.FunctionDefinition{
		Name: d.Name, Module: d.Module, Qualname: d.Qualname, Serialized: wire.PayloadToProto(d.Serialized),
		ImageId: d.ImageID, SecretIds: d.SecretIDs,
		Resources: &skerryv1.Resources{
			CpuMilli: d.Resources.CPUMilli, CpuLimitMilli: d.Resources.CPULimitMilli,
			MemoryMib: d.Resources.MemoryMiB, MemoryLimitMib: d.Resources.MemoryLimitMiB,
			EphemeralDiskMib: d.Resources.EphemeralDiskMiB,
		},
		Timeout: durationpb.New(d.Timeout), StartupTimeout: durationpb.New(d.StartupTimeout),
		Autoscaler: &skerryv1.Autoscaler{
			MinContainers:    uint32(d.Autoscaler.MinContainers),    //nolint:gosec // checked when published: small and not negative
			MaxContainers:    uint32(d.Autoscaler.MaxContainers),    //nolint:gosec // as above
			BufferContainers: uint32(d.Autoscaler.BufferContainers), //nolint:gosec // as above
			ScaledownWindow:  durationpb.New(d.Autoscaler.ScaledownWindow),
		},
		PythonVersion: d.PythonVersion, BlockNetwork: d.BlockNetwork, ClientVersion: d.ClientVersion,
	}
	for _, mount := range d.Mounts {
		m.Mounts = append(m.Mounts, &skerryv1.Mount{RemotePath: mount.RemotePath, TreeDigest: mount.TreeDigest})
	}
	return m
}

func inputToProto(in *task.Input) *workerv1.ContainerInput {
	return &workerv1.ContainerInput{Key: wire.KeyToProto(in.Key), Args: wire.PayloadToProto(&in.Args), Attempt: in.Attempt}
}

func keysToProto(keys []payload.Key) []*workerv1.InputKey {
	out := make([]*workerv1.InputKey, len(keys))
	for i, k := range keys {
		out[i] = wire.KeyToProto(k)
	}
	return out
}

func keysFromProto(messages []*workerv1.InputKey) ([]payload.Key, error) {
	keys := make([]payload.Key, len(messages))
	for i, m := range messages {
		k, err := wire.KeyFromProto(m)
		if err != nil {
			return nil, err
		}
		keys[i] = k
	}
	return keys, nil
}

func phasesFromProto(messages []*workerv1.StartPhase) []task.Phase {
	phases := make([]task.Phase, len(messages))
	for i, m := range messages {
		phases[i] = task.Phase{Name: m.GetName(), Elapsed: m.GetElapsed().AsDuration()}
	}
	return phases
}

func outputsFromProto(messages []*workerv1.ContainerOutput) ([]task.Output, error) {
	outputs := make([]task.Output, len(messages))
	for i, m := range messages {
		key, err := wire.KeyFromProto(m.GetKey())
		if err != nil {
			return nil, err
		}
		result, err := wire.ResultFromProto(m.GetResult())
		if err != nil {
			return nil, fmt.Errorf("output %d of call %q: %w", key.Index, key.CallID, err)
		}
		outputs[i] = task.Output{Key: key, Result: result, Elapsed: m.GetElapsed().AsDuration()}
	}
	return outputs, nil
}

func exitFromProto(m *workerv1.ContainerExited) (task.Exit, error) {
	r := m.GetReason()
	if r <= workerv1.ExitReason_EXIT_REASON_UNSPECIFIED || r > workerv1.ExitReason_EXIT_REASON_NOT_STARTED {
		return task.Exit{}, fault.New(fault.Invalid, "exit reason %d: unknown", int32(r))
	}
	lost, err := keysFromProto(m.GetLost())
	if err != nil {
		return task.Exit{}, err
	}
	exit := task.Exit{Reason: task.Reason(r), Message: m.GetMessage(), Lost: lost}
	if m.GetError() != nil {
		if exit.Error, err = wire.RemoteErrorFromProto(m.GetError()); err != nil {
			return task.Exit{}, err
		}
	}
	return exit, nil
}
