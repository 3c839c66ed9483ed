package gatewaylink

import (
	"runtime"

	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/wire"
	"github.com/skerry-dev/skerry/worker/container"
	workerwire "github.com/skerry-dev/skerry/worker/wire"
)

// burstMilli is how much more than it asked for a function may use where it sets no limit, in thousandths of a core.
const burstMilli = 16_000

// spec turns what the gateway asks for into a container.
func (s *Service) spec(m *workerv1.StartContainer) (*container.Spec, error) {
	if m == nil {
		return nil, fault.New(fault.Invalid, "container: the first frame does not say what to start")
	}
	if err := ident.Check(ident.Container, m.GetContainerId()); err != nil {
		return nil, err
	}
	image, err := wire.AnyRefFromProto(m.GetImage())
	if err != nil {
		return nil, fault.New(fault.Invalid, "container %q: image: %w", m.GetContainerId(), err)
	}
	d := m.GetDefinition()
	spec := &container.Spec{
		ID:    m.GetContainerId(),
		AppID: m.GetAppId(), AppName: m.GetAppName(),
		FunctionID: m.GetFunctionId(), FunctionName: d.GetName(),
		Environment: m.GetEnvironment(),
		Module:      d.GetModule(), Qualname: d.GetQualname(),
		AppFunctionIDs: m.GetAppFunctionIds(),
		ImageID:        d.GetImageId(), Image: container.Image{Ref: image, Chunked: m.GetImageChunked()},
		ImageEnv: m.GetImageEnv(), ImageWorkdir: m.GetImageWorkdir(), SecretEnv: m.GetSecretEnv(),
		BlockNetwork: d.GetBlockNetwork(),
		Timeout:      d.GetTimeout().AsDuration(), StartupTimeout: d.GetStartupTimeout().AsDuration(),
		PythonVersion: d.GetPythonVersion(),
		Generator:     d.GetIsGenerator(), Slots: int(max(1, d.GetConcurrency().GetMaxInputs())), Batched: d.GetBatching() != nil,
		RestrictAccess: d.GetRestrictAccess(), ModalNames: d.GetModalNames(), Interactive: d.GetInteractive(),
		Labels: s.desc.Labels, Class: classFromProto(m),
	}
	if d.GetSerialized() != nil {
		if spec.Serialized, err = wire.PayloadFromProto(d.GetSerialized()); err != nil {
			return nil, fault.New(fault.Invalid, "container %q: serialized function: %w", spec.ID, err)
		}
	}
	for _, mount := range d.GetMounts() {
		spec.Mounts = append(spec.Mounts, container.Mount{RemotePath: mount.GetRemotePath(), TreeDigest: mount.GetTreeDigest()})
	}
	for _, v := range d.GetVolumeMounts() {
		spec.Volumes = append(spec.Volumes, container.VolumeMount{
			VolumeID: v.GetVolumeId(), Path: v.GetMountPath(), SubPath: v.GetSubPath(), ReadOnly: v.GetReadOnly(),
		})
	}
	if spec.Buckets, err = workerwire.BucketsFromProto(d.GetBucketMounts(), m.GetBucketCredentials()); err != nil {
		return nil, fault.New(fault.Invalid, "container %q: %w", spec.ID, err)
	}
	limits(spec, d.GetResources())
	return spec, nil
}

func classFromProto(m *workerv1.StartContainer) *container.Class {
	spec := m.GetDefinition().GetClassSpec()
	if spec == nil {
		return nil
	}
	c := &container.Class{Constructor: m.GetConstructorArguments()}
	for _, method := range spec.GetMethods() {
		c.Methods = append(c.Methods, container.Method{Name: method.GetName(), Generator: method.GetIsGenerator()})
	}
	for _, p := range m.GetParameters() {
		value := container.Parameter{Name: p.GetName()}
		switch v := p.GetValue().(type) {
		case *skerryv1.Parameter_StringValue:
			value.Type, value.Value = int(skerryv1.ParameterType_PARAMETER_TYPE_STRING), v.StringValue
		case *skerryv1.Parameter_IntValue:
			value.Type, value.Value = int(skerryv1.ParameterType_PARAMETER_TYPE_INT), v.IntValue
		case *skerryv1.Parameter_BytesValue:
			value.Type, value.Value = int(skerryv1.ParameterType_PARAMETER_TYPE_BYTES), v.BytesValue
		case *skerryv1.Parameter_BoolValue:
			value.Type, value.Value = int(skerryv1.ParameterType_PARAMETER_TYPE_BOOL), v.BoolValue
		}
		c.Parameters = append(c.Parameters, value)
	}
	return c
}

// limits sets what the container may use. A CPU limit that the host can't reach is none, which saves the kernel's accounting.
func limits(spec *container.Spec, r *skerryv1.Resources) {
	spec.CPUMilli, spec.CPULimitMilli = r.GetCpuMilli(), r.GetCpuLimitMilli()
	if spec.CPULimitMilli == 0 {
		spec.CPULimitMilli = spec.CPUMilli + burstMilli
	}
	if spec.CPULimitMilli >= uint32(runtime.NumCPU())*1000 { //nolint:gosec // there are not that many cores
		spec.CPULimitMilli = 0
	}
	spec.MemoryMiB, spec.MemoryLimitMiB = r.GetMemoryMib(), r.GetMemoryLimitMib()
	spec.EphemeralDiskMiB = r.GetEphemeralDiskMib()
}

func inputsFromProto(messages []*workerv1.ContainerInput) ([]container.Input, error) {
	inputs := make([]container.Input, len(messages))
	for i, m := range messages {
		key, err := wire.KeyFromProto(m.GetKey())
		if err != nil {
			return nil, err
		}
		args, err := wire.PayloadFromProto(m.GetArgs())
		if err != nil {
			return nil, fault.New(fault.Invalid, "input %d of call %q: %w", key.Index, key.CallID, err)
		}
		if args == nil {
			return nil, fault.New(fault.Invalid, "input %d of call %q: has no arguments", key.Index, key.CallID)
		}
		inputs[i] = container.Input{Key: key, Args: *args, Attempt: m.GetAttempt(), Method: m.GetMethod(), Batch: m.GetBatch()}
	}
	return inputs, nil
}

func exitToProto(e container.Exit) *workerv1.ContainerExited {
	m := &workerv1.ContainerExited{Reason: workerv1.ExitReason(e.Reason), Message: e.Message, Lost: wire.KeysToProto(e.Lost)}
	if e.Error != nil {
		m.Error = wire.RemoteErrorToProto(e.Error)
	}
	return m
}
