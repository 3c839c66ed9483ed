// Package wire turns the gateway's nouns into messages, and answers requests, where several services or links do it alike.
package wire

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/skerry-dev/skerry/gateway/function"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/wire"
)

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
		Autoscaler:    AutoscalerToProto(d.Autoscaler),
		PythonVersion: d.PythonVersion, BlockNetwork: d.BlockNetwork, ClientVersion: d.ClientVersion,
		IsGenerator: d.Generator, ClassSpec: classToProto(d.Class), Retries: RetriesToProto(d.Retries),
		Concurrency: ConcurrencyToProto(d.Concurrency), Batching: BatchingToProto(d.Batching), SingleUseContainers: d.SingleUse,
		Schedule: ScheduleToProto(d.Schedule), Placement: PlacementToProto(d.Placement), RestrictAccess: d.RestrictAccess,
		ModalNames: d.ModalNames, Interactive: d.Interactive, VolumeMounts: VolumeMountsToProto(d.Volumes),
		BucketMounts: BucketMountsToProto(d.Buckets),
	}
	for _, mount := range d.Mounts {
		m.Mounts = append(m.Mounts, &skerryv1.Mount{RemotePath: mount.RemotePath, TreeDigest: mount.TreeDigest})
	}
	return m
}

func classToProto(c *function.Class) *skerryv1.ClassSpec {
	if c == nil {
		return nil
	}
	m := &skerryv1.ClassSpec{CustomConstructor: c.CustomConstructor}
	for _, method := range c.Methods {
		m.Methods = append(m.Methods, &skerryv1.Method{Name: method.Name, IsGenerator: method.Generator})
	}
	for _, p := range c.Parameters {
		spec := &skerryv1.ParameterSpec{Name: p.Name, Type: skerryv1.ParameterType(p.Type)}
		if p.Default != nil {
			spec.DefaultValue = ParameterToProto(*p.Default)
		}
		m.Parameters = append(m.Parameters, spec)
	}
	return m
}

// AutoscalerToProto returns the message of the bounds of the number of containers.
func AutoscalerToProto(a function.Autoscaler) *skerryv1.Autoscaler {
	return &skerryv1.Autoscaler{
		MinContainers:    uint32(a.MinContainers),    //nolint:gosec // checked: small and not negative
		MaxContainers:    uint32(a.MaxContainers),    //nolint:gosec // as above
		BufferContainers: uint32(a.BufferContainers), //nolint:gosec // as above
		ScaledownWindow:  durationpb.New(a.ScaledownWindow),
	}
}

// Byte keeps an enum's number in a byte: what is out of range becomes 255, which no noun knows.
func Byte[E ~int32](e E) uint8 {
	if e < 0 || e > 255 {
		return 255
	}
	return uint8(e)
}
