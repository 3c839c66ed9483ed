package wire

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
)

// SandboxToProto returns the message of a sandbox, whose environment is the id: clients are told the name.
func SandboxToProto(s *sandbox.Sandbox) *skerryv1.SandboxInfo {
	m := &skerryv1.SandboxInfo{
		SandboxId: s.ID, AppId: s.AppID, Name: s.Definition.Name, Tags: s.Definition.Tags, State: skerryv1.SandboxState(s.State),
		CreatedAt: timestamppb.New(s.CreatedAt), ImageId: s.Definition.ImageID, WorkerId: s.WorkerID, Ready: s.Ready,
		Environment: s.Environment, Owner: s.Definition.Owner, End: EndToProto(s.End),
	}
	if !s.ExpiresAt.IsZero() {
		m.ExpiresAt = timestamppb.New(s.ExpiresAt)
	}
	return m
}

// EndToProto returns the message of how a sandbox ended; nil for one that has not.
func EndToProto(e *sandbox.End) *skerryv1.SandboxEnd {
	if e == nil {
		return nil
	}
	return &skerryv1.SandboxEnd{
		Reason: skerryv1.SandboxEndReason(e.Reason), ReturnCode: e.ReturnCode, Message: e.Message, EndedAt: timestamppb.New(e.At),
	}
}

// EndFromProto returns how a sandbox ended; nil for nil. Errors: fault.Invalid.
func EndFromProto(m *skerryv1.SandboxEnd) (*sandbox.End, error) {
	if m == nil {
		return nil, nil //nolint:nilnil // none is no error
	}
	r := sandbox.Reason(Byte(m.GetReason()))
	if r < sandbox.Exited || r > sandbox.Lost {
		return nil, fault.New(fault.Invalid, "sandbox end: reason %d is unknown", m.GetReason())
	}
	return &sandbox.End{Reason: r, ReturnCode: m.GetReturnCode(), Message: m.GetMessage(), At: m.GetEndedAt().AsTime()}, nil
}

// SandboxDefinitionToProto returns the message of a definition.
func SandboxDefinitionToProto(d *sandbox.Definition) *skerryv1.SandboxDefinition {
	m := &skerryv1.SandboxDefinition{
		Argv: d.Argv, Name: d.Name, Tags: d.Tags, ImageId: d.ImageID, Env: d.Env, SecretIds: d.SecretIDs, Timeout: durationpb.New(d.Timeout),
		Workdir: d.Workdir, Network: NetworkToProto(&d.Network), Pty: d.PTY, Owner: d.Owner, GatewayAccess: d.GatewayAccess,
		Verbose: d.Verbose, CustomDomain: d.CustomDomain, VolumeMounts: VolumeMountsToProto(d.Volumes),
		BucketMounts: BucketMountsToProto(d.Buckets),
		Resources: &skerryv1.Resources{
			CpuMilli: d.Resources.CPUMilli, CpuLimitMilli: d.Resources.CPULimitMilli,
			MemoryMib: d.Resources.MemoryMiB, MemoryLimitMib: d.Resources.MemoryLimitMiB, EphemeralDiskMib: d.Resources.EphemeralDiskMiB,
		},
		Placement: PlacementToProto(d.Placement),
	}
	if d.IdleTimeout > 0 {
		m.IdleTimeout = durationpb.New(d.IdleTimeout)
	}
	if d.PauseWhenIdle {
		m.OnIdle = skerryv1.IdleAction_IDLE_ACTION_PAUSE
	}
	for _, p := range d.Ports {
		m.Ports = append(m.Ports, &skerryv1.PortDefinition{Port: uint32(p.Port), Kind: skerryv1.PortKind(p.Kind)})
	}
	if p := d.Probe; p != nil {
		m.Probe = &skerryv1.Probe{Interval: durationpb.New(p.Interval)}
		if p.TCPPort != 0 {
			m.Probe.Kind = &skerryv1.Probe_TcpPort{TcpPort: uint32(p.TCPPort)}
		} else {
			m.Probe.Kind = &skerryv1.Probe_Exec{Exec: &skerryv1.ProbeCommand{Argv: p.Exec}}
		}
	}
	for _, mount := range d.Mounts {
		m.Mounts = append(m.Mounts, &skerryv1.Mount{RemotePath: mount.RemotePath, TreeDigest: mount.TreeDigest})
	}
	for _, e := range d.Egress {
		m.EgressSecrets = append(m.EgressSecrets, &skerryv1.EgressSecret{
			SecretId: e.SecretID, Variable: e.Variable, Hosts: e.Hosts, Header: e.Header, Format: e.Format, PlaceholderVariable: e.PlaceholderVariable,
		})
	}
	return m
}

// NetworkToProto returns the message of a network policy.
func NetworkToProto(n *sandbox.Network) *skerryv1.NetworkPolicy {
	return &skerryv1.NetworkPolicy{
		Block: n.Block, OutboundCidrs: allowlistToProto(n.OutboundCIDRs), OutboundDomains: allowlistToProto(n.OutboundDomains),
		InboundCidrs: allowlistToProto(n.InboundCIDRs),
	}
}

func allowlistToProto(l *sandbox.Allowlist) *skerryv1.Allowlist {
	if l == nil {
		return nil
	}
	return &skerryv1.Allowlist{Entries: l.Entries}
}

// NetworkFromProto returns a network policy. It is not checked yet.
func NetworkFromProto(m *skerryv1.NetworkPolicy) sandbox.Network {
	list := func(l *skerryv1.Allowlist) *sandbox.Allowlist {
		if l == nil {
			return nil
		}
		return &sandbox.Allowlist{Entries: append([]string{}, l.GetEntries()...)}
	}
	return sandbox.Network{
		Block: m.GetBlock(), OutboundCIDRs: list(m.GetOutboundCidrs()), OutboundDomains: list(m.GetOutboundDomains()),
		InboundCIDRs: list(m.GetInboundCidrs()),
	}
}

// SandboxDefinitionFromProto returns a definition. It is not checked yet, but for numbers that its fields can't hold. Errors: fault.Invalid.
func SandboxDefinitionFromProto(m *skerryv1.SandboxDefinition) (sandbox.Definition, error) {
	if m == nil {
		return sandbox.Definition{}, fault.New(fault.Invalid, "sandbox: no definition")
	}
	r := m.GetResources()
	d := sandbox.Definition{
		Argv: m.GetArgv(), Name: m.GetName(), Tags: m.GetTags(), ImageID: m.GetImageId(), Env: m.GetEnv(), SecretIDs: m.GetSecretIds(),
		Timeout: duration(m.GetTimeout()), IdleTimeout: duration(m.GetIdleTimeout()),
		PauseWhenIdle: m.GetOnIdle() == skerryv1.IdleAction_IDLE_ACTION_PAUSE,
		Workdir:       m.GetWorkdir(), Network: NetworkFromProto(m.GetNetwork()), PTY: m.GetPty(), Owner: m.GetOwner(),
		GatewayAccess: m.GetGatewayAccess(), Verbose: m.GetVerbose(), CustomDomain: m.GetCustomDomain(),
		Volumes: VolumeMountsFromProto(m.GetVolumeMounts()), Buckets: BucketMountsFromProto(m.GetBucketMounts()),
		Resources: function.Resources{
			CPUMilli: r.GetCpuMilli(), CPULimitMilli: r.GetCpuLimitMilli(),
			MemoryMiB: r.GetMemoryMib(), MemoryLimitMiB: r.GetMemoryLimitMib(), EphemeralDiskMiB: r.GetEphemeralDiskMib(),
		},
		Placement: function.Placement{
			Regions: m.GetPlacement().GetRegions(), Clouds: m.GetPlacement().GetClouds(), NonPreemptible: m.GetPlacement().GetNonpreemptible(),
		},
	}
	for _, p := range m.GetPorts() {
		port, err := PortFromProto(p)
		if err != nil {
			return d, err
		}
		d.Ports = append(d.Ports, port)
	}
	if p := m.GetProbe(); p != nil {
		port, err := portNumber(p.GetTcpPort())
		if err != nil {
			return d, err
		}
		d.Probe = &sandbox.Probe{TCPPort: port, Exec: p.GetExec().GetArgv(), Interval: duration(p.GetInterval())}
	}
	for _, mount := range m.GetMounts() {
		d.Mounts = append(d.Mounts, function.Mount{RemotePath: mount.GetRemotePath(), TreeDigest: mount.GetTreeDigest()})
	}
	for _, e := range m.GetEgressSecrets() {
		d.Egress = append(d.Egress, sandbox.EgressSecret{
			SecretID: e.GetSecretId(), Variable: e.GetVariable(), Hosts: e.GetHosts(), Header: e.GetHeader(), Format: e.GetFormat(),
			PlaceholderVariable: e.GetPlaceholderVariable(),
		})
	}
	return d, nil
}

// PortFromProto returns a port; its kind is ENCRYPTED where none is named. Errors: fault.Invalid.
func PortFromProto(m *skerryv1.PortDefinition) (sandbox.Port, error) {
	port, err := portNumber(m.GetPort())
	if err != nil {
		return sandbox.Port{}, err
	}
	kind := sandbox.PortKind(Byte(m.GetKind()))
	if kind == 0 {
		kind = sandbox.Encrypted
	}
	return sandbox.Port{Port: port, Kind: kind}, nil
}

func portNumber(n uint32) (uint16, error) {
	if n > 65535 {
		return 0, fault.New(fault.Invalid, "port %d: want 1 to 65535", n)
	}
	return uint16(n), nil
}

// duration is that of a message, or 0 where there is none.
func duration(m *durationpb.Duration) time.Duration {
	if m == nil {
		return 0
	}
	return m.AsDuration()
}
