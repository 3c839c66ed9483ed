// Package tunnelrpc serves the public TunnelService: it checks what came over the wire and calls gateway/tunnel.
package tunnelrpc

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/tunnel"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
)

// MinTTL is how long a signed URL works at least.
const MinTTL = time.Second

// NewService returns the handler of TunnelService. Code in containers may not call it.
func NewService(tunnels *tunnel.Service) skerryv1connect.TunnelServiceHandler {
	return &service{tunnels}
}

type service struct{ tunnels *tunnel.Service }

// ListTunnels implements skerryv1connect.TunnelServiceHandler.
func (s *service) ListTunnels(ctx context.Context, req *connect.Request[skerryv1.ListTunnelsRequest]) (*connect.Response[skerryv1.ListTunnelsResponse], error) {
	m := req.Msg
	limit, err := duration("limit", m.GetLimit(), 0, tunnel.MaxWait)
	if err == nil {
		err = ident.Check(ident.Sandbox, m.GetSandboxId())
	}
	if err != nil {
		return nil, err
	}
	list, err := s.tunnels.List(ctx, m.GetSandboxId(), limit)
	if err != nil {
		return nil, err
	}
	res := &skerryv1.ListTunnelsResponse{}
	for _, t := range list {
		res.Tunnels = append(res.Tunnels, toProto(t))
	}
	return connect.NewResponse(res), nil
}

// OpenTunnel implements skerryv1connect.TunnelServiceHandler.
func (s *service) OpenTunnel(ctx context.Context, req *connect.Request[skerryv1.OpenTunnelRequest]) (*connect.Response[skerryv1.OpenTunnelResponse], error) {
	m := req.Msg
	port, err := target(m.GetSandboxId(), m.GetPort().GetPort())
	if err != nil {
		return nil, err
	}
	kind, err := kindFromProto(m.GetPort().GetKind())
	if err != nil {
		return nil, err
	}
	t, err := s.tunnels.Open(ctx, m.GetSandboxId(), tunnel.Port{Number: port, Kind: kind})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.OpenTunnelResponse{Tunnel: toProto(t)}), nil
}

// CloseTunnel implements skerryv1connect.TunnelServiceHandler.
func (s *service) CloseTunnel(ctx context.Context, req *connect.Request[skerryv1.CloseTunnelRequest]) (*connect.Response[skerryv1.CloseTunnelResponse], error) {
	m := req.Msg
	port, err := target(m.GetSandboxId(), m.GetPort())
	if err != nil {
		return nil, err
	}
	if err := s.tunnels.CloseTunnel(ctx, m.GetSandboxId(), port); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.CloseTunnelResponse{}), nil
}

// CreateConnectToken implements skerryv1connect.TunnelServiceHandler.
func (s *service) CreateConnectToken(ctx context.Context, req *connect.Request[skerryv1.CreateConnectTokenRequest]) (*connect.Response[skerryv1.CreateConnectTokenResponse], error) {
	m := req.Msg
	number := m.GetPort()
	if number == 0 {
		number = tunnel.DefaultPort
	}
	port, err := target(m.GetSandboxId(), number)
	if err != nil {
		return nil, err
	}
	c, err := s.tunnels.CreateToken(ctx, tunnel.Access{SandboxID: m.GetSandboxId(), Port: port, Metadata: m.GetUserMetadata()})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.CreateConnectTokenResponse{Url: c.URL, Token: c.Token}), nil
}

// SignURL implements skerryv1connect.TunnelServiceHandler.
func (s *service) SignURL(ctx context.Context, req *connect.Request[skerryv1.SignURLRequest]) (*connect.Response[skerryv1.SignURLResponse], error) {
	m := req.Msg
	port, err := target(m.GetSandboxId(), m.GetPort())
	if err != nil {
		return nil, err
	}
	ttl := tunnel.DefaultTTL
	if m.GetTtl() != nil {
		if ttl, err = duration("ttl", m.GetTtl(), MinTTL, tunnel.MaxTTL); err != nil {
			return nil, err
		}
	}
	c, err := s.tunnels.CreateToken(ctx, tunnel.Access{SandboxID: m.GetSandboxId(), Port: port, Metadata: m.GetUserMetadata(), TTL: ttl})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.SignURLResponse{Url: c.Link(), ExpiresAt: timestamppb.New(c.ExpiresAt)}), nil
}

// RevokeURLs implements skerryv1connect.TunnelServiceHandler.
func (s *service) RevokeURLs(ctx context.Context, req *connect.Request[skerryv1.RevokeURLsRequest]) (*connect.Response[skerryv1.RevokeURLsResponse], error) {
	m := req.Msg
	port := uint16(0)
	if m.GetPort() != 0 {
		var err error
		if port, err = target(m.GetSandboxId(), m.GetPort()); err != nil {
			return nil, err
		}
	} else if err := ident.Check(ident.Sandbox, m.GetSandboxId()); err != nil {
		return nil, err
	}
	if err := s.tunnels.Revoke(ctx, m.GetSandboxId(), port); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.RevokeURLsResponse{}), nil
}

// target checks what a request is about.
func target(sandboxID string, port uint32) (uint16, error) {
	if err := ident.Check(ident.Sandbox, sandboxID); err != nil {
		return 0, err
	}
	if port == 0 || port > 65535 {
		return 0, fault.New(fault.Invalid, "port %d: want 1 to 65535", port)
	}
	return uint16(port), nil
}

func duration(noun string, d *durationpb.Duration, low, high time.Duration) (time.Duration, error) {
	if err := d.CheckValid(); d != nil && err != nil {
		return 0, fault.New(fault.Invalid, "%s: %w", noun, err)
	}
	if v := d.AsDuration(); v >= low && v <= high {
		return v, nil
	}
	return 0, fault.New(fault.Invalid, "%s %s: want %s to %s", noun, d.AsDuration(), low, high)
}

func kindFromProto(k skerryv1.PortKind) (tunnel.Kind, error) {
	switch k {
	case skerryv1.PortKind_PORT_KIND_UNSPECIFIED, skerryv1.PortKind_PORT_KIND_ENCRYPTED:
		return tunnel.Encrypted, nil
	case skerryv1.PortKind_PORT_KIND_H2:
		return tunnel.H2, nil
	case skerryv1.PortKind_PORT_KIND_UNENCRYPTED:
		return tunnel.Unencrypted, nil
	default:
		return 0, fault.New(fault.Invalid, "kind of port %d: is not known here", k)
	}
}

var kinds = map[tunnel.Kind]skerryv1.PortKind{
	tunnel.Encrypted:   skerryv1.PortKind_PORT_KIND_ENCRYPTED,
	tunnel.H2:          skerryv1.PortKind_PORT_KIND_H2,
	tunnel.Unencrypted: skerryv1.PortKind_PORT_KIND_UNENCRYPTED,
}

func toProto(t tunnel.Tunnel) *skerryv1.Tunnel {
	m := &skerryv1.Tunnel{Port: uint32(t.Port), Kind: kinds[t.Kind], Url: t.URL, Host: t.Host, HostPort: uint32(t.HostPort)}
	if t.Kind == tunnel.Unencrypted {
		m.UnencryptedHost, m.UnencryptedPort = t.Host, uint32(t.HostPort)
	}
	return m
}
