package apprpc

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/skerry-dev/skerry/gateway/function"
	gatewire "github.com/skerry-dev/skerry/gateway/wire"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/wire"
)

// definitionFromProto turns a definition into the noun, which checks it.
func definitionFromProto(m *skerryv1.FunctionDefinition) (function.Definition, error) {
	d := function.Definition{
		Name: m.GetName(), Module: m.GetModule(), Qualname: m.GetQualname(), ImageID: m.GetImageId(), SecretIDs: m.GetSecretIds(),
		PythonVersion: m.GetPythonVersion(), BlockNetwork: m.GetBlockNetwork(), ClientVersion: m.GetClientVersion(),
		Generator: m.GetIsGenerator(), Class: classFromProto(m.GetClassSpec()), SingleUse: m.GetSingleUseContainers(),
		Concurrency: gatewire.ConcurrencyFromProto(m.GetConcurrency()), Batching: gatewire.BatchingFromProto(m.GetBatching()),
		Retries: gatewire.RetriesFromProto(m.GetRetries()), Schedule: gatewire.ScheduleFromProto(m.GetSchedule()),
		Placement:      gatewire.PlacementFromProto(m.GetPlacement()),
		RestrictAccess: m.GetRestrictAccess(), ModalNames: m.GetModalNames(), Interactive: m.GetInteractive(),
		Volumes: gatewire.VolumeMountsFromProto(m.GetVolumeMounts()), Buckets: gatewire.BucketMountsFromProto(m.GetBucketMounts()),
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

func classFromProto(m *skerryv1.ClassSpec) *function.Class {
	if m == nil {
		return nil
	}
	c := &function.Class{CustomConstructor: m.GetCustomConstructor()}
	for _, method := range m.GetMethods() {
		c.Methods = append(c.Methods, function.Method{Name: method.GetName(), Generator: method.GetIsGenerator()})
	}
	for _, p := range m.GetParameters() {
		spec := function.ParameterSpec{Name: p.GetName(), Type: function.ParameterType(gatewire.Byte(p.GetType()))}
		if p.GetDefaultValue() != nil {
			value := gatewire.ParameterFromProto(p.GetDefaultValue())
			value.Name = spec.Name
			spec.Default = &value
		}
		c.Parameters = append(c.Parameters, spec)
	}
	return c
}
