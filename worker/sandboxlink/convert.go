package sandboxlink

import (
	"maps"
	"net/netip"
	"runtime"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/wire"
	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/command"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/network/policy"
	"github.com/skerry-dev/skerry/worker/sandbox"
	workerwire "github.com/skerry-dev/skerry/worker/wire"
)

// burstMilli is how much more than it asked for a sandbox may use where it sets no limit, in thousandths of a core.
const burstMilli = 16_000

// specFromProto turns what the gateway asks for into a sandbox.
func specFromProto(m *workerv1.SandboxSpec) (sandbox.Spec, error) {
	id := m.GetSandboxId()
	if err := ident.Check(ident.Sandbox, id); err != nil {
		return sandbox.Spec{}, err
	}
	image, err := wire.AnyRefFromProto(m.GetImage())
	if err != nil {
		return sandbox.Spec{}, fault.New(fault.Invalid, "sandbox %q: image: %w", id, err)
	}
	d := m.GetDefinition()
	network, err := policyFromProto(d.GetNetwork())
	if err != nil {
		return sandbox.Spec{}, fault.New(fault.Invalid, "sandbox %q: %w", id, err)
	}
	network.Secrets = secretsFromProto(m.GetEgressRules())
	spec := sandbox.Spec{
		ID: id, AppID: m.GetAppId(), AppName: m.GetAppName(), Environment: m.GetEnvironment(),
		ImageID: d.GetImageId(), Image: container.Image{Ref: image, Chunked: m.GetImageChunked()},
		ImageEnv: m.GetImageEnv(), ImageWorkdir: m.GetImageWorkdir(),
		Argv: d.GetArgv(), Terminal: d.GetPty(), Env: envWithPlaceholders(m), SecretEnv: m.GetSecretEnv(), Workdir: d.GetWorkdir(),
		Network: network, GatewayAccess: d.GetGatewayAccess(),
		IdleTimeout: d.GetIdleTimeout().AsDuration(), Probe: probeFromProto(d.GetProbe()), Record: m.GetRecord(),
		PauseWhenIdle: d.GetOnIdle() == skerryv1.IdleAction_IDLE_ACTION_PAUSE,
	}
	if ref := m.GetSnapshot(); ref != nil {
		spec.Snapshot = &sandbox.SnapshotRef{ID: ref.GetSnapshotId(), Manifest: ref.GetManifestDigest()}
	}
	if m.GetExpiresAt() != nil {
		spec.ExpiresAt = m.GetExpiresAt().AsTime()
	}
	for _, mount := range d.GetMounts() {
		spec.Mounts = append(spec.Mounts, container.Mount{RemotePath: mount.GetRemotePath(), TreeDigest: mount.GetTreeDigest()})
	}
	spec.Volumes = volumesFromProto(d.GetVolumeMounts())
	if spec.Buckets, err = workerwire.BucketsFromProto(d.GetBucketMounts(), m.GetBucketCredentials()); err != nil {
		return spec, fault.New(fault.Invalid, "sandbox %q: %w", id, err)
	}
	limits(&spec, d.GetResources())
	return spec, nil
}

func volumesFromProto(list []*skerryv1.VolumeMount) (mounts []container.VolumeMount) {
	for _, v := range list {
		mounts = append(mounts, container.VolumeMount{
			VolumeID: v.GetVolumeId(), Path: v.GetMountPath(), SubPath: v.GetSubPath(), ReadOnly: v.GetReadOnly(),
		})
	}
	return mounts
}

// policyFromProto turns a network policy into one of the worker's. Who may connect to the sandbox's ports is the gateway's to hold.
func policyFromProto(m *skerryv1.NetworkPolicy) (policy.Policy, error) {
	p := policy.Policy{Block: m.GetBlock()}
	if list := m.GetOutboundCidrs(); list != nil {
		p.CIDRs = []netip.Prefix{}
		for _, text := range list.GetEntries() {
			cidr, err := netip.ParsePrefix(text)
			if err != nil {
				return p, fault.New(fault.Invalid, "range %q: want one such as 192.0.2.0/24", text)
			}
			p.CIDRs = append(p.CIDRs, cidr)
		}
	}
	if list := m.GetOutboundDomains(); list != nil {
		p.Domains = append([]string{}, list.GetEntries()...)
	}
	return p.Normal()
}

func secretsFromProto(rules []*workerv1.EgressRule) []policy.Secret {
	var secrets []policy.Secret
	for _, r := range rules {
		s := policy.Secret{Hosts: r.GetHosts(), Header: r.GetHeader(), Value: policy.NewValue(r.GetValue())}
		if s.Header == "" {
			s.Placeholder = r.GetPlaceholder()
		}
		secrets = append(secrets, s)
	}
	return secrets
}

// envWithPlaceholders is the sandbox's own environment, with what stands for values that never enter it.
func envWithPlaceholders(m *workerv1.SandboxSpec) map[string]string {
	env := maps.Clone(m.GetDefinition().GetEnv())
	for _, r := range m.GetEgressRules() {
		if name := r.GetPlaceholderVariable(); name != "" {
			if env == nil {
				env = map[string]string{}
			}
			env[name] = r.GetPlaceholder()
		}
	}
	return env
}

func probeFromProto(m *skerryv1.Probe) *box.Probe {
	if m == nil {
		return nil
	}
	return &box.Probe{TCPPort: m.GetTcpPort(), Argv: m.GetExec().GetArgv(), Interval: m.GetInterval().AsDuration()}
}

// limits sets what the sandbox may use. A CPU limit that the host can't reach is none, which saves the kernel's accounting.
func limits(spec *sandbox.Spec, r *skerryv1.Resources) {
	spec.CPUMilli, spec.CPULimitMilli = r.GetCpuMilli(), r.GetCpuLimitMilli()
	if spec.CPULimitMilli == 0 {
		spec.CPULimitMilli = spec.CPUMilli + burstMilli
	}
	if spec.CPULimitMilli >= uint32(runtime.NumCPU())*1000 { //nolint:gosec // there are not that many cores
		spec.CPULimitMilli = 0
	}
	spec.MemoryMiB, spec.MemoryLimitMiB = r.GetMemoryMib(), r.GetMemoryLimitMib()
	spec.DiskMiB = r.GetEphemeralDiskMib()
}

func statusToProto(s sandbox.Status) *workerv1.SandboxStatus {
	m := &workerv1.SandboxStatus{
		SandboxId: s.ID, State: skerryv1.SandboxState(s.State), Ready: s.Ready, Adopted: s.Adopted, Record: s.Record,
		ExpiresAt: timeToProto(s.ExpiresAt), IdleSince: timeToProto(s.IdleSince),
	}
	if s.State == command.Starting || s.State == command.Running {
		m.Resources = &skerryv1.Resources{
			CpuMilli: s.Spec.CPUMilli, CpuLimitMilli: s.Spec.CPULimitMilli, MemoryMib: s.Spec.MemoryMiB, MemoryLimitMib: s.Spec.MemoryLimitMiB,
			EphemeralDiskMib: s.Spec.DiskMiB,
		}
	}
	m.End = endToProto(s.End)
	for _, c := range s.Sidecars {
		m.Sidecars = append(m.Sidecars, &skerryv1.SidecarInfo{
			SidecarId: c.ID, Name: c.Name, ImageId: c.ImageID, State: skerryv1.SandboxState(c.State), End: endToProto(c.End),
		})
	}
	return m
}

func endToProto(e *command.End) *skerryv1.SandboxEnd {
	if e == nil {
		return nil
	}
	return &skerryv1.SandboxEnd{
		Reason: skerryv1.SandboxEndReason(e.Reason), ReturnCode: int32(e.Code), //nolint:gosec // below 256
		Message: e.Message, EndedAt: timestamppb.New(e.At),
	}
}

func timeToProto(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func usageToProto(u sandbox.Usage) *workerv1.GetSandboxUsageResponse {
	return &workerv1.GetSandboxUsageResponse{
		CpuTime: durationpb.New(u.CPUTime), CpuLimitMilli: u.CPULimitMilli,
		MemoryBytes: u.MemoryBytes, MemoryLimitBytes: u.MemoryLimitBytes,
		DiskBytes: u.DiskBytes, DiskLimitBytes: u.DiskLimitBytes,
		NetworkReceivedBytes: u.ReceivedBytes, NetworkSentBytes: u.SentBytes, Processes: u.Processes,
	}
}
